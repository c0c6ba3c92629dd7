"""Send servers one or two signals at random moments, from their start to their end.

    python tests/e2e/storm.py --runs 1000 --seed 1 --jobs 2
    python tests/e2e/storm.py --seed 1 --only 17 --verbose

The app says how far it has come (see ``apps/stormy.py``). A moment is a number of seconds after
one of its steps, or after the start of the server, so a run can be repeated by its seed and number
on a machine of any speed. The runs are told apart by the last step before the first signal, and
whatever is not clean, or was signalled before the app could do anything, is compared with a control
run: the same signals at the same moments, to an app without queues, workers and the library, which
every other time comes to each step when the run had come there.

The exit status is 0 if no run with the library leaked, left an orphan, or hung.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asgi_mpclean._check.outcome import Outcome

APPS = Path(__file__).parent / "apps"
HANG = 10.0
"""Seconds from the last signal to the end; the clean-up may take five of them."""

HANG_PLAIN = 5.0
"""The same for a control run, which has nothing to clean up."""

CONTROLS = 5
"""How often a control run is tried until it leaves what the run has left."""

START = "server started"
CLEANED = "cleaned up"
STEPS = (
    START,
    "app begun",
    "framework imported",
    "library imported",
    "queues made",
    "queue registered",
    "app imported",
    "lifespan watched",
    "lifespan begun",
    "lifespan's queues made",
    "worker started",
    "serving",
    "worker: app begun",
    "worker: framework imported",
    "worker: library imported",
    "worker: queues made",
    "worker: queue registered",
    "worker: app imported",
    "worker: ready",
    "lifespan ending",
    CLEANED,
)
"""What a run comes through, in this order; the worker's process takes long to start."""

ANCHORS = {START: 0.8, **dict.fromkeys(STEPS[1:-2], 0.06), "serving": 0.3, "worker: ready": 0.3}
"""After which steps the first signal comes, and how many seconds at most."""

PLAIN_ANCHORS = {step: "serving" for step in STEPS if step.startswith("worker:")} | {
    "lifespan watched": "lifespan begun"
}
"""What stands in a control run for the steps that are the library's or the worker's."""

EARLY = STEPS.index("queues made")
"""Before this step the app has nothing that could leak."""

UNREGISTERED = {
    f"{process}{step}"
    for process in ("", "worker: ")
    for step in ("library imported", "queues made")
}
"""The steps after which the app has queues of which the library has not been told yet."""


def _stopper(send: str, signum: int) -> Callable[[Server], None]:
    return lambda server: getattr(server, send)(signum)


SIGNALS: dict[str, Callable[[Server], None]] = {
    "CTRL-C": Server.interrupt,
    "SIGTERM": _stopper("signal", signal.SIGTERM),
    "SIGTERM to the group": _stopper("signal_group", signal.SIGTERM),
}


@dataclasses.dataclass(frozen=True)
class Served:
    """A server's command line, and in how many processes it serves."""

    command: str
    copies: int = 1


SERVERS = {
    "uvicorn": Served("uvicorn stormy:app --port {port}"),
    "uvicorn --reload": Served("uvicorn stormy:app --port {port} --reload"),
    "uvicorn --workers 2": Served("uvicorn stormy:app --port {port} --workers 2", copies=2),
    "gunicorn": Served("gunicorn stormy:app -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{port}"),
    # On uvloop granian never notices a signal that comes just when a worker has started.
    "granian": Served("granian stormy:app --interface asgi --port {port} --loop asyncio"),
}


@dataclasses.dataclass(frozen=True)
class Shot:
    """What is sent to which server, and when."""

    seed: int
    number: int
    server: str
    anchor: str
    process: int
    delay: float
    first: str
    second: str | None
    gap: float

    def __str__(self) -> str:
        """Return it in words."""
        then = f", {self.second} {self.gap:.3f} s later" if self.second else ""
        return (
            f"seed {self.seed} run {self.number}: {self.server}, {self.first} {self.delay:.3f} s"
            f' after "{self.anchor}" of process {self.process}{then}'
        )


def aim(seed: int, number: int) -> Shot:
    """Return the run of this number: the same one each time."""
    dice = random.Random(f"{seed}/{number}")  # noqa: S311 - to be repeated
    server = list(SERVERS)[number % len(SERVERS)]
    anchor = dice.choice(list(ANCHORS))
    return Shot(
        seed,
        number,
        server,
        anchor,
        process=dice.randint(1, SERVERS[server].copies),
        delay=dice.uniform(0, ANCHORS[anchor]),
        first=dice.choice(list(SIGNALS)),
        second=dice.choice([None, *SIGNALS]),
        gap=dice.uniform(0, 0.5),
    )


@dataclasses.dataclass(frozen=True)
class Mark:
    """A process has come to a step."""

    at: float
    pid: int
    step: str


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of a shot."""

    shot: Shot
    outcome: Outcome
    marks: tuple[Mark, ...]
    sent: tuple[float, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """What it left; tracebacks of interrupted servers are none of it."""
        found = [f"{count} {kind}" for kind, count in sorted(self.outcome.leaked.items())]
        found += ["orphan"] * len(self.outcome.orphans) + ["hung"] * self.outcome.hung
        unknown = len(self.outcome.warnings) - self.outcome.output.count("There appear to be")
        return (*found, *["warning of the tracker"] * max(0, unknown))

    @property
    def phase(self) -> str:
        """The furthest step before the first signal."""
        reached = {mark.step for mark in self.marks if mark.at < self.sent[0]} | {START}
        return max(reached & set(STEPS), key=STEPS.index)

    @property
    def was_too_early(self) -> bool:
        """Whether a process ended with queues of which the library had not been told yet.

        The default action of a signal ended it then: the first `register` sets the guard.
        """
        last = {mark.pid: mark.step for mark in sorted(self.marks, key=lambda mark: mark.at)}
        return not UNREGISTERED.isdisjoint(last.values())

    def history(self) -> list[str]:
        """Return what each process did and when, seen from the first signal."""
        by_process: dict[int, list[str]] = defaultdict(list)
        for mark in sorted(self.marks, key=lambda mark: mark.at):
            by_process[mark.pid].append(f"{mark.step} {mark.at - self.sent[0]:+.3f}")
        return [f"  process {pid}: {', '.join(steps)}" for pid, steps in by_process.items()]


def read_marks(folder: Path) -> tuple[Mark, ...]:
    """Return the steps of the app, and what the library says it did."""
    marks = []
    with (folder / "marks").open() as lines:
        for line in lines:
            at, pid, step = line.rstrip("\n").split(" ", 2)
            marks.append(Mark(float(at), int(pid), step))
    trace = folder / "trace"
    names = {"lifespan": "lifespan watched", "report": CLEANED}
    for line in trace.read_text().splitlines() if trace.exists() else ():
        event = json.loads(line)
        marks.append(Mark(event["at"], event["pid"], names.get(event["event"], event["event"])))
    return tuple(marks)


def wait_for(shot: Shot, server: Server, folder: Path, *, plain: bool) -> None:
    """Wait until the process of that number has come to the step."""
    anchor = PLAIN_ANCHORS.get(shot.anchor, shot.anchor) if plain else shot.anchor
    if anchor == START:
        return

    def is_there() -> bool:
        marks = read_marks(folder)
        return server.has_ended or sum(mark.step == anchor for mark in marks) >= shot.process

    eventually(is_there, 60, every=0.002)


def pace(run: Run) -> dict[str, float]:
    """Return how long after its first step a process that serves came to each other one."""
    begun = {mark.pid: mark.at for mark in run.marks if mark.step == "app begun"}
    steps: dict[str, float] = {}
    for mark in run.marks:
        if mark.pid in begun:
            steps[mark.step] = max(steps.get(mark.step, 0.0), mark.at - begun[mark.pid])
    return steps


def perform(shot: Shot, *, plain: bool = False, like: Run | None = None) -> Run:
    """Do the run, or its control run; `like` is whose pace that is to keep."""
    with tempfile.TemporaryDirectory(prefix="mpclean-") as name:
        folder = Path(name)
        (folder / "marks").touch()
        env = {"MPC_MARKS": str(folder / "marks"), "ASGI_MPCLEAN_JOURNAL": str(folder / "trace")}
        env |= {"MPC_PLAIN": "1"} if plain else {}
        env |= {"MPC_PACE": json.dumps(pace(like))} if like else {}
        words = SERVERS[shot.server].command.split()
        with Server(sys.executable, "-m", *words, cwd=APPS, env=env) as server:
            wait_for(shot, server, folder, plain=plain)
            time.sleep(shot.delay)
            sent = [time.monotonic()]
            SIGNALS[shot.first](server)
            if shot.second is not None:
                time.sleep(shot.gap)
                sent.append(time.monotonic())
                SIGNALS[shot.second](server)
            outcome = server.finish(HANG_PLAIN if plain else HANG)
        return Run(shot, outcome, read_marks(folder), tuple(sent))


@dataclasses.dataclass(frozen=True)
class Case:
    """A run and its control runs."""

    run: Run
    controls: tuple[Run, ...]

    @property
    def cell(self) -> tuple[int, int]:
        """Its place in the table: the phase, and the server."""
        return STEPS.index(self.run.phase), list(SERVERS).index(self.run.shot.server)

    @property
    def is_bad(self) -> bool:
        """Whether something was left that a server without queues has not left as well."""
        excused = self.run.was_too_early or is_the_servers(self.run, self.controls)
        return bool(self.run.faults) and not excused

    def story(self) -> str:
        """Tell everything about it."""
        run = self.run
        lines = [f"{run.shot}", f"  last step: {run.phase}", f"  left: {_left([run])}"]
        lines += [*run.history(), f"  status {run.outcome.status}, {run.outcome.seconds:.2f} s"]
        lines += [f"  orphan: {orphan}" for orphan in run.outcome.orphans]
        for control in self.controls:
            lines.append(f"  control: {_left([control])}, status {control.outcome.status}")
            lines += control.history()
        return "\n".join([*lines, run.outcome.output])


def is_the_servers(run: Run, controls: Iterable[Run]) -> bool:
    """Tell whether the server does the same with an app that has nothing to leave behind.

    Whoever hangs is killed in the end, and leaves what it has then.
    """
    if run.outcome.hung:
        return any(control.outcome.hung for control in controls)
    return any(set(run.faults) <= set(control.faults) for control in controls)


def shoot(shot: Shot) -> Case:
    """Do the run, and control runs where they show whose fault is whose."""
    run, controls = perform(shot), []
    if run.faults or STEPS.index(run.phase) < EARLY:
        controls.append(perform(shot, plain=True))
    while run.faults and len(controls) < CONTROLS and not is_the_servers(run, controls):
        controls.append(perform(shot, plain=True, like=run if len(controls) % 2 else None))
    return Case(run, tuple(controls))


def judge(cases: Iterable[Case]) -> list[Case]:
    """Let each run be compared with all control runs of its server in its phase."""
    controls: dict[tuple[int, int], list[Run]] = defaultdict(list)
    for case in cases:
        controls[case.cell] += case.controls
    return [
        case for case in cases if case.is_bad and not is_the_servers(case.run, controls[case.cell])
    ]


def table(cases: list[Case], bad: list[Case]) -> str:
    """Return what was found: phase by phase, server by server."""
    head = ["last step before the signal", "server", "runs", "clean", "left by us"]
    head += ["left as nothing was registered yet", "left by the server in control runs too"]
    head += ["exit status", "in control runs"]
    cells: dict[tuple[int, int], list[Case]] = defaultdict(list)
    for case in cases:
        cells[case.cell].append(case)
    rows = [head, ["---"] * len(head)]
    for _, found in sorted(cells.items()):
        runs = [case.run for case in found]
        row = [runs[0].phase, runs[0].shot.server]
        row += [f"{len(runs)}", f"{sum(not run.faults for run in runs)}"]
        row += [_left(case.run for case in found if case in bad)]
        others = [case.run for case in found if case not in bad]
        row += [_left(run for run in others if run.was_too_early)]
        row += [_left(run for run in others if not run.was_too_early)]
        row += [_statuses(runs), _statuses(run for case in found for run in case.controls)]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _left(runs: Iterable[Run]) -> str:
    found = Counter(" + ".join(run.faults) for run in runs if run.faults)
    return ", ".join(f"{faults} ({count} x)" for faults, count in found.items()) or "nothing"


def _statuses(runs: Iterable[Run]) -> str:
    found = Counter(run.outcome.status for run in runs)
    return ", ".join(f"{status} ({count} x)" for status, count in sorted(found.items()))


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    summary, _, details = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="how many")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the number to begin at")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="what chooses the moments")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="how many at a time")
    parser.add_argument("--only", type=int, metavar="N", help="the run of this number alone")
    parser.add_argument("--server", choices=SERVERS, help="the runs of this server alone")
    parser.add_argument("--verbose", action="store_true", help="tell everything about each run")
    return parser.parse_args()


def main() -> int:
    """Run the storm; return the exit status."""
    options = parse()
    numbers = (
        range(options.first, options.first + options.runs)
        if options.only is None
        else [options.only]
    )
    shots = [aim(options.seed, number) for number in numbers]
    shots = [shot for shot in shots if options.server in {None, shot.server}]
    cases, began = [], time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for case in pool.map(shoot, shots):
            cases.append(case)
            if len(cases) % 50 == 0:
                seconds = time.monotonic() - began
                print(f"{len(cases)} runs in {seconds:.0f} s", file=sys.stderr, flush=True)
            if case.is_bad or options.verbose:
                print(case.story(), flush=True)
    bad = judge(cases)
    print(table(cases, bad))
    unclean = [case for case in cases if case.run.faults and case not in bad]
    early = sum(case.run.was_too_early for case in unclean)
    print(f"\n{len(cases)} runs, seed {options.seed}, {time.monotonic() - began:.0f} s:", end=" ")
    print(f"{len(bad)} not clean,", end=" ")
    print(f"{early} ended by a signal before anything was registered,", end=" ")
    print(f"{len(unclean) - early} in which the server does the same without queues")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
