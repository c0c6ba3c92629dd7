"""One cell of the matrix: run it, count what it left, judge that."""

from __future__ import annotations

import dataclasses
import functools
import json
import platform
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix_cells import AT_FIRST_REQUEST, SERVERS, SHAPES, Cell, cannot

from asgi_mpclean._check.commands import serve
from asgi_mpclean._check.errors import CheckError
from asgi_mpclean._check.outcome import plural
from asgi_mpclean._check.run import Result, Run, perform
from asgi_mpclean._check.stops import STOPS

if TYPE_CHECKING:
    from collections.abc import Iterator

APPS = Path(__file__).parent / "apps"
HANG = 15.0
"""Seconds after the signal; three times the `timeout` of the library, which is 5 here."""
START = 120.0
"""Seconds to start; three workers with NiceGUI, on a busy machine, take their time."""

IN_FRONT = (sys.executable, "-m", "asgi_mpclean", "run", "--")
NOTHING_IN_THE_APP = {"MPC_ATTACHED": "0", "MPC_REGISTER": "0", "MPC_PROCESS": "plain"}

DELIVERED = ("item", "job", "result")
DAEMONS_HAVE_NO_CHILDREN = " --config hypercorn.toml"


@dataclasses.dataclass(frozen=True)
class Left:
    """What a run left behind.

    Attributes:
        hung: Whether the server had to be killed.
        orphans: How many processes outlived it.
        semaphores: How many leaked, whether the resource tracker has removed them or not.
        memory: How many blocks of shared memory leaked.
        lost: Items put, but neither delivered nor worked off; and of jobs, those of which nobody
            was told that they will not be done.
        dropped: How many of those the library's reports count as dropped.
        cancelled: How many jobs the library's reports count as cancelled that nobody else was told
            of.
        in_hand: How many of them a worker had begun.
        doubled: Items delivered more than once.
        tracebacks: How many were printed.
        of_children: How many of them by processes of multiprocessing.
        late: Whether a clean-up of the library ran out of time.
        status: The exit code, or the negative number of the signal that killed it.
        seconds: From the last signal to the exit.
        output: What was printed.
        error: Why it could not be run, if so.
    """

    hung: bool = False
    orphans: int = 0
    semaphores: int = 0
    memory: int = 0
    lost: int = 0
    dropped: int = 0
    cancelled: int = 0
    in_hand: int = 0
    doubled: int = 0
    tracebacks: int = 0
    of_children: int = 0
    late: bool = False
    status: int = 0
    seconds: float = 0.0
    output: str = ""
    error: str | None = None

    @property
    def clean(self) -> bool:
        """Whether it left nothing, as one without the library is judged."""
        return not (self.hung or self.error or self.doubled or any(self.counts().values()))

    def counts(self) -> dict[str, int]:
        """Return what there can be more than one of."""
        return {
            "orphan": self.orphans,
            "semaphore": self.semaphores,
            "memory block": self.memory,
            "lost item": self.lost,
            "traceback": self.tracebacks,
        }


def measure(cell: Cell, *, library: bool = True, run: bool = False) -> Left:
    """Run the cell and count.

    Args:
        cell: What to run.
        library: Whether the library works.
        run: Whether nothing of it is in the app, and ``asgi-mpclean run`` in front of the server.
    """
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        account = Path(folder, "account")
        try:
            result = perform(_run(cell, Path(folder), account, library=library, run=run))
        except CheckError as error:
            return Left(error=str(error))
        text = account.read_text() if account.exists() else ""
    return _count(result, [json.loads(line) for line in text.splitlines()])


def _run(cell: Cell, folder: Path, account: Path, *, library: bool, run: bool) -> Run:
    server, shape, stop = SERVERS[cell.server], SHAPES[cell.shape], STOPS[cell.signal]
    apps, words = APPS, server.words
    if stop.after_change or "--reload" in words:
        # Nobody else may change what a reloader watches.
        apps = folder / "apps"
        shutil.copytree(APPS, apps, ignore=shutil.ignore_patterns("__pycache__"))
    if server.name == "hypercorn" and shape.has_children:
        words += DAEMONS_HAVE_NO_CHILDREN
    target = serve(
        f"{apps / shape.module}.py:app",
        words,
        reload=stop.after_change and "--reload" not in words,
    )
    # A first request reaches one process, a lifespan is run in each.
    copies = 1 if cell.framework in AT_FIRST_REQUEST else server.copies
    env = {
        "MPC_ACCOUNT": str(account),
        "MPC_FRAMEWORK": cell.framework,
        "MPC_METHOD": cell.method,
        "MPC_PROCESS": "library" if library else "plain",
    }
    env.update(shape.env)
    if run:
        target = dataclasses.replace(target, command=(*IN_FRONT, *target.command))
        env.update(NOTHING_IN_THE_APP)
    return Run(
        target,
        stop,
        library=library,
        texts=((shape.text[0], shape.text[1] * copies),) if shape.text else (),
        timeout=HANG,
        start_timeout=START,
        env=env,
    )


def _count(result: Result, lines: list[dict[str, Any]]) -> Left:
    outcome = result.outcome
    kinds = Counter(line["kind"] for line in lines)
    delivered = [(line["pid"], line["number"]) for line in lines if line["kind"] in DELIVERED]
    put = sum(line["count"] for line in lines if line["kind"] == "put")
    lost = max(0, put - len(set(delivered)) - kinds["taken"] - kinds["failed"])
    return Left(
        hung=outcome.hung,
        orphans=len(outcome.orphans),
        semaphores=outcome.leaked.get("semaphore", 0),
        memory=outcome.leaked.get("shared_memory", 0),
        lost=lost,
        dropped=result.total("dropped"),
        cancelled=max(0, result.total("cancelled") - kinds["failed"]),
        in_hand=min(lost, kinds["begun"] - kinds["taken"]),
        doubled=len(delivered) - len(set(delivered)),
        tracebacks=outcome.tracebacks,
        of_children=outcome.tracebacks_of_children,
        late=any(event["report"]["deadline_passed"] for event in result.reports),
        status=outcome.status,
        seconds=round(outcome.seconds, 3),
        output=outcome.output,
    )


@functools.cache
def alone(server: str, how: str, framework: str) -> Left:
    """Measure the server with an app that leaves nothing to clean up, without the library."""
    return measure(Cell(server, how, "idle", "fork", framework), library=False)


def faults(cell: Cell, left: Left, without: Left | None = None, *, run: bool = False) -> list[str]:
    """Judge what a run with the library left.

    Args:
        cell: What was run.
        left: What came of it.
        without: The same without the library, if that was run.
        run: Whether nothing of the library was in the app, and ``asgi-mpclean run`` in front.

    Returns:
        What is not clean, in words; empty if all is.
    """
    if left.error:
        return [f"could not be run: {left.error}"]
    return list(_faults(cell, left, without, run=run))


def _faults(cell: Cell, left: Left, without: Left | None, *, run: bool) -> Iterator[str]:
    if left.hung:
        yield "hangs"
        return
    # A signal to all ends workers as well, and with them the jobs that they have in hand.
    to_all = cell.signal == "term-group" or (run and cell.signal != "term")
    in_hand = left.in_hand if to_all else 0
    registered = SHAPES[cell.shape].registered and not run
    counts = {
        **left.counts(),
        "lost item": left.lost - left.dropped - in_hand - (left.cancelled if run else 0),
        "dropped item": left.dropped if registered else 0,
        "traceback": left.tracebacks - _own_tracebacks(cell, left, run=run),
    }
    for noun, count in counts.items():
        if count > 0:
            yield plural(noun, count)
    if left.doubled:
        yield f"{left.doubled} items delivered twice"
    if left.late:
        yield "the clean-up took longer than its timeout"
    expected = _statuses(cell, without)
    if left.status not in expected:
        yield f"exit status {left.status} instead of {' or '.join(map(str, sorted(expected)))}"


def _own_tracebacks(cell: Cell, left: Left, *, run: bool) -> int:
    """Return how many of the tracebacks the library has no part in."""
    if not left.tracebacks:
        return 0
    # CTRL-C goes to workers as well, and those of multiprocessing that nobody registered say so.
    of_workers = 0 if SHAPES[cell.shape].registered or run else left.of_children
    if cell.signal == "term-group" and cell.method == "forkserver":
        # A pool may be about to replace a worker by means of the fork server, which has ended too.
        of_workers += left.output.count("(_handle_workers):")
    if STOPS[cell.signal].forced:
        return left.tracebacks - left.of_children + of_workers
    return alone(cell.server, cell.signal, cell.framework).tracebacks + of_workers


def _statuses(cell: Cell, without: Left | None) -> set[int]:
    """Return the exit statuses that the server has without the library."""
    if without is not None and not without.hung and not without.error:
        found = {without.status}
    else:
        found = {alone(cell.server, cell.signal, cell.framework).status}
    if STOPS[cell.signal].forced:
        # A second signal may come too late to make a difference, or when the handlers are gone.
        found |= {alone(cell.server, "int", cell.framework).status, -signal.SIGINT}
    if SERVERS[cell.server].name == "granian":
        # It ends with 1 if a worker has ended by a signal to all before it had the same itself.
        found |= {0, 1}
    return found


@dataclasses.dataclass(frozen=True)
class Row:
    """A cell that was run, or why it cannot be.

    Attributes:
        python: The version of the interpreter.
        cell: The combination.
        reason: Why it cannot be.
        without: What is left without the library.
        left: What is left with it.
        faults: What of that is not clean.
    """

    python: str
    cell: Cell
    reason: str | None = None
    without: Left | None = None
    left: Left | None = None
    faults: tuple[str, ...] = ()


def fill(cell: Cell, *, run: bool = False) -> Row:
    """Run the cell without the library and with it, or by ``asgi-mpclean run``."""
    python = platform.python_version()
    if reason := cannot(cell):
        return Row(python, cell, reason)
    without = measure(cell, library=False)
    left = measure(cell, run=run)
    return Row(python, cell, None, without, left, tuple(faults(cell, left, without, run=run)))


def as_json(row: Row) -> dict[str, Any]:
    """Return the row as plain data; what clean runs printed is left out."""
    data = dataclasses.asdict(row)
    if not row.faults:
        for name in ("without", "left"):
            if data[name]:
                data[name]["output"] = ""
    return data


def from_json(data: dict[str, Any]) -> Row:
    """Return the row that `as_json` was given."""
    lefts = {name: Left(**data[name]) if data[name] else None for name in ("without", "left")}
    row = {**data, **lefts, "cell": Cell(**data["cell"]), "faults": tuple(data["faults"])}
    return Row(**row)
