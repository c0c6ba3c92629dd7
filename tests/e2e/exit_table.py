"""Show what servers leave behind when they are stopped, without the library and with it.

    python tests/e2e/exit_table.py
    python tests/e2e/exit_table.py --start-method forkserver --repeat 3 --json table.json

Each row is a FastAPI app that is started twice for real, and stopped by a real signal once it is
busy. What is left is counted by the harness of the end-to-end tests; the table is Markdown. The
exit status is 0 if everything was clean with the library.

"Without" is plain multiprocessing, with the library switched off. A semaphore counts whether the
resource tracker warns of it or an orphan keeps it alive; items count as lost if no `on_item` had
them. What hangs is killed, and what it would have left is not told.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import platform
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Server

if TYPE_CHECKING:
    from collections.abc import Callable

APPS = Path(__file__).parent / "apps"
HANG = 8.0
"""Seconds after the signal; more than the library's own `timeout`, which is 5 here."""

LEAKED = re.compile(r"There appear to be (\d+) leaked semaphore")
GUNICORN = "gunicorn {app}:app -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{{port}}"


@dataclasses.dataclass(frozen=True)
class App:
    """A module of ``apps``, what it writes when it is busy, and how many items it then holds."""

    module: str
    title: str
    busy: str = "Application startup complete"
    items: int = 0


@dataclasses.dataclass(frozen=True)
class Stop:
    """A server's command line, how many processes serve with it, and the way to stop it."""

    title: str
    command: str
    send: Callable[[Server], None]
    copies: int = 1


def sigterm(server: Server) -> None:
    """Send SIGTERM to the server alone, as supervisors do."""
    server.signal(signal.SIGTERM)


UVICORN = "uvicorn {app}:app --port {{port}}"
CTRL_C = Stop("uvicorn, CTRL-C", UVICORN, Server.interrupt)
SIGTERM = Stop("uvicorn, SIGTERM", UVICORN, sigterm)
RELOAD = Stop("uvicorn --reload, CTRL-C", f"{UVICORN} --reload", Server.interrupt)
WORKERS = Stop("uvicorn --workers 2, SIGTERM", f"{UVICORN} --workers 2", sigterm, copies=2)
MANAGED = Stop("gunicorn with uvicorn's worker, SIGTERM", GUNICORN, sigterm)

IDLE = App("idle", "two idle queues")
BACKLOG = App("backlog", "10,000 unread items", "filled", 10_000)
STUCK = App("full_results", "worker blocked on a full results queue", "worker done", 300)
STUBBORN = App("stubborn", "worker that ignores SIGTERM", "worker ready")

ROWS = [
    *((IDLE, stop) for stop in (CTRL_C, SIGTERM, RELOAD, WORKERS, MANAGED)),
    *((BACKLOG, stop) for stop in (CTRL_C, SIGTERM, RELOAD, MANAGED)),
    *((STUCK, stop) for stop in (CTRL_C, SIGTERM, RELOAD, WORKERS)),
    *((STUBBORN, stop) for stop in (CTRL_C, SIGTERM, WORKERS)),
]


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """What a run left. The greater is the worse."""

    hung: bool
    orphans: int
    semaphores: int
    lost: int
    tracebacks: int
    warnings: int
    """Of the resource tracker, not about semaphores."""
    seconds: float
    status: int

    @property
    def clean(self) -> bool:
        """Whether it left nothing."""
        return str(self) == "clean"

    def __str__(self) -> str:
        """Return it in words."""
        if self.hung:
            return "hangs"
        counts = {
            "orphan": self.orphans,
            "semaphore": self.semaphores,
            "lost item": self.lost,
            "traceback": self.tracebacks,
            "warning": self.warnings,
        }
        return " + ".join(plural(*count) for count in counts.items() if count[1]) or "clean"


def plural(noun: str, count: int) -> str:
    """Return a number of things in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def delivered(path: Path) -> int:
    """Count the items that were given to an ``on_item``."""
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(json.loads(line)["kind"] != "report" for line in lines)


def run(app: App, stop: Stop, method: str, account: Path, *, library: bool) -> Cell:
    """Start the app, stop it, and count what is left."""
    env = {
        "MPC_ACCOUNT": str(account),
        "MPC_METHOD": method,
        "MPC_PROCESS": "library" if library else "plain",
        "MPC_REGISTER": "1",
        "MPC_STOP": "1",
        "MPC_WRAP": "lifespan",
    }
    words = stop.command.format(app=app.module).split()
    with Server(sys.executable, "-m", *words, cwd=APPS, env=env, library=library) as server:
        for text in ("Application startup complete", app.busy):
            server.wait_for_text(text, count=stop.copies)
        server.wait_until_ready()
        stop.send(server)
        outcome = server.finish(HANG)
    told = [int(count) for count in LEAKED.findall(outcome.output)]
    return Cell(
        hung=outcome.hung,
        orphans=len(outcome.orphans),
        semaphores=sum(told) + len(outcome.semaphores),
        lost=app.items * stop.copies - delivered(account),
        tracebacks=outcome.tracebacks,
        warnings=len(outcome.warnings) - len(told),
        seconds=outcome.seconds,
        status=outcome.status,
    )


def worst(app: App, stop: Stop, options: argparse.Namespace, *, library: bool) -> Cell:
    """Run it as often as asked for and return the worst."""
    cells = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.repeat):
            account = Path(folder, str(number))
            cells.append(run(app, stop, options.start_method, account, library=library))
    return max(cells)


def versions() -> dict[str, str]:
    """Return what the table was made with."""
    packages = "uvicorn", "fastapi", "gunicorn"
    found = {package: importlib.metadata.version(package) for package in packages}
    return {platform.python_implementation(): platform.python_version(), **found}


def positive(text: str) -> int:
    """Return a number of times."""
    if (number := int(text)) < 1:
        message = f"{number} is less than 1"
        raise argparse.ArgumentTypeError(message)
    return number


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    summary, _, details = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to a file too")
    parser.add_argument(
        "--repeat", type=positive, default=1, metavar="N", help="show the worst of N runs"
    )
    parser.add_argument("--start-method", choices=["spawn", "forkserver", "fork"], default="spawn")
    return parser.parse_args()


def main() -> int:
    """Print the table; return the exit status."""
    options = parse()
    header = {**versions(), "start method": options.start_method}
    print(", ".join(f"{name} {value}" for name, value in header.items()), end="\n\n")
    print("| app | stopped | without asgi-mpclean | with it |\n|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    unclean = 0
    for app, stop in ROWS:
        print(f"| {app.title} | {stop.title} | ", end="", flush=True)
        without = worst(app, stop, options, library=False)
        print(f"{without} | ", end="", flush=True)
        cell = worst(app, stop, options, library=True)
        print(f"{cell}, {cell.seconds:.1f} s |", flush=True)
        unclean += not cell.clean
        cells = {"without": dataclasses.asdict(without), "with": dataclasses.asdict(cell)}
        rows.append({"app": app.title, "stopped": stop.title, **cells})
    if options.json:
        options.json.write_text(json.dumps({**header, "rows": rows}, indent=2) + "\n")
    return 1 if unclean else 0


if __name__ == "__main__":
    sys.exit(main())
