"""What the tests of servers share: the cases, the ways to stop, and what each has to come to.

Each case runs once with the library, and what the server does without it is the measure: the exit
status has to be the same, the time may be one second longer where the workers cooperate, and
``timeout`` plus one second where they do not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.client
import json
import os
import signal
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asgi_mpclean._check import stops
from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgi_mpclean._check.outcome import Outcome

APPS = Path(__file__).parent / "apps"
ITEMS = 10_000
JOBS = 300

STOPS = {stop.title: stop for stop in stops.STOPS.values()}
"""The ways to stop a server, by what a person calls them; the intervals are what is under test."""

CTRL_C = stops.STOPS["int"].title
CTRL_C_TWICE_FAST = stops.STOPS["int-twice-fast"].title
CTRL_C_TWICE = stops.STOPS["int-twice"].title
CTRL_C_THEN_SIGTERM = stops.STOPS["int-term"].title
SIGTERM = stops.STOPS["term"].title
SIGTERM_TWICE = stops.STOPS["term-twice"].title
SIGTERM_TO_ALL = stops.STOPS["term-group"].title
SIGHUP = stops.STOPS["hup"].title
SIGQUIT = stops.STOPS["quit"].title


def stop(server: Server, how: str) -> None:
    """Stop the server in one of these ways."""
    STOPS[how].send(server)


SERVERS = {
    "uvicorn": ("--port {port}", "Application startup complete"),
    "hypercorn": ("--bind 127.0.0.1:{port}", "Running on"),
    "granian": ("--interface asgi --port {port}", "Started worker-"),
    "daphne": ("--port {port}", "Listening on TCP address"),
    "gunicorn": ("--worker-class asgi --bind 127.0.0.1:{port}", "ASGI server listening on"),
}
"""What each server has to be told, and what each process that serves says after start-up."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One run: an app, how it is served and how it is stopped.

    Attributes:
        app: The module in ``apps``.
        how: The way to stop it.
        flags: Further words for the server's command line.
        server: The server, one of SERVERS.
        method: The start method.
        registered: Whether the app registers its queues and workers.
        wrap: How the library is attached.
        worker: "library" or "plain", which is multiprocessing's.
        asked: Whether the worker has a ``stop``.
        timeout: The library's option, in seconds.
        moment: What it is doing when it is stopped: serving, importing, starting, or a request.
        pty: Whether it runs on a terminal.
        env: Further settings of the app.
    """

    app: str
    how: str
    flags: str = ""
    server: str = "uvicorn"
    method: str = "spawn"
    registered: bool = True
    wrap: str = "wrapper"
    worker: str = "library"
    asked: bool = False
    timeout: float = 5
    moment: str = "serving"
    pty: bool = False
    env: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """Return what differs from the defaults, as the id of the test."""
        words = [self.app, self.how]
        for field in dataclasses.fields(self)[2:]:
            value = getattr(self, field.name)
            if value != field.default:
                text = value if isinstance(value, str) else f"{field.name}={value}"
                words.append(text)
        return ", ".join(words)

    @property
    def copies(self) -> int:
        """How many processes serve the app."""
        words = self.flags.split()
        # hypercorn's 0 means that its main process does.
        return max(1, int(words[words.index("--workers") + 1])) if "--workers" in words else 1

    @property
    def cooperates(self) -> bool:
        """Whether all workers, if any, end as soon as they are asked to."""
        return self.app in ("idle", "backlog", "forked") or (
            self.app == "full_results" and self.asked
        )

    def alone(self, *, app: str) -> Case:
        """Return what of the case decides on time and status of a server without the library."""
        return Case(app, self.how, self.flags, self.server, moment=self.moment, pty=self.pty)


@contextlib.contextmanager
def started(
    case: Case, account: Path | None = None, folder: Path = APPS, *, library: bool = True
) -> Iterator[Server]:
    """Start the case and wait for the moment to stop it."""
    env = {
        "MPC_METHOD": case.method,
        "MPC_REGISTER": str(int(case.registered)),
        "MPC_WRAP": case.wrap,
        "MPC_PROCESS": case.worker,
        "MPC_STOP": str(int(case.asked)),
        "MPC_TIMEOUT": str(case.timeout),
        "MPC_ACCOUNT": str(account) if account else "/dev/null",
        "MPC_SLOW_IMPORT": str(int(case.moment == "importing")),
        "MPC_SLOW_START": str(int(case.moment == "starting")),
        **dict(case.env),
    }
    options, _ready = SERVERS[case.server]
    words = "-m", case.server, f"{case.app}:app", *f"{options} {case.flags}".split()
    with (
        Server(
            sys.executable, *words, cwd=folder, env=env, pty=case.pty, library=library
        ) as server,
        contextlib.ExitStack() as request,
    ):
        if case.moment in ("importing", "starting"):
            server.wait_for_text(case.moment, count=case.copies)
        else:
            wait_until_served(server, case, times=1)
        if case.moment == "request":
            request.enter_context(running_request(server))
        yield server


def wait_until_served(server: Server, case: Case, times: int) -> None:
    """Wait until the app has started up so many times, and its worker has come to its place."""
    texts = {
        "backlog": "filled",
        "full_results": "worker ready" if case.env else "worker done",
        "stubborn": "worker ready",
        "forked": "worker ready",
        "waiting": "worker ready",
        "pooled": "job begun",
    }
    workers = 4 if case.app == "pooled" else 1
    off = "--lifespan off" in case.flags
    _options, ready = SERVERS[case.server]
    server.wait_for_text("Uvicorn running on" if off else ready, count=case.copies * times)
    if case.app in texts:
        server.wait_for_text(texts[case.app], count=workers * case.copies * times)
    server.wait_until_ready()


@contextlib.contextmanager
def running_request(server: Server) -> Iterator[None]:
    """Keep a request running that takes longer than the server will live."""

    def ask() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.request("/slow", timeout=30)

    thread = threading.Thread(target=ask, name="slow-request", daemon=True)
    thread.start()
    server.wait_for_text("slow request")
    yield
    thread.join(10)


@functools.cache
def without_library(case: Case) -> Outcome:
    """Run the case without the library, once for all cases that are compared with it."""
    with started(case, library=False) as server:
        stop(server, case.how)
        return server.finish(20)


def hangs_without_library(case: Case) -> bool:
    """Tell whether the case is still there long after it would have ended with the library."""
    with started(case, library=False) as server:
        stop(server, case.how)
        return server.finish(case.timeout + 1).hung


def allowed_tracebacks(case: Case) -> int:
    """Return how many tracebacks the server prints by itself.

    A second CTRL-C after 0.3 s finds it at its end, or a little before: then it does what it does
    after 0.05 s.
    """
    alone = case.alone(app="idle")
    ways = {case.how, CTRL_C_TWICE_FAST} if case.how == CTRL_C_TWICE else {case.how}
    found = [without_library(dataclasses.replace(alone, how=way)).tracebacks for way in ways]
    # Whether the second signal finds uvicorn still there is chance; it prints two for each server.
    servers = int(case.flags.split()[-1]) if "--workers" in case.flags else 1
    return max(*found, 2 * servers if "CTRL-C twice" in case.how else 0)


def expected_statuses(case: Case) -> set[int]:
    """Return the exit status that the same app has without the library.

    A second CTRL-C may come too late to make a difference, or find the interpreter on its way out,
    the default handler back in its place: it then dies of the signal, with the library or without.
    """
    # With anything more than idle queues, CTRL-C hangs without the library, and SIGTERM does so
    # too where it does not kill as uvicorn lets it, or with pools.
    may_hang = (
        "CTRL-C" in case.how
        or case.server != "uvicorn"
        or case.app in ("pooled", "waiting", "forked")
    )
    same = case.alone(app="idle" if may_hang else case.app)
    if "CTRL-C twice" not in case.how:
        return {without_library(same).status}
    # The first CTRL-C alone would wait for a request that does not end.
    moment = "serving" if case.moment == "request" else case.moment
    once = dataclasses.replace(same, how=CTRL_C, moment=moment)
    return {without_library(same).status, without_library(once).status, -signal.SIGINT}


def check(case: Case, outcome: Outcome, *, tracebacks: int = 0) -> None:
    """Hold the outcome against the contract.

    Args:
        case: What was run.
        outcome: How it ended.
        tracebacks: How many there are that the library has no part in.
    """
    others = dataclasses.replace(outcome, tracebacks=max(0, outcome.tracebacks - tracebacks))
    assert others.faults == [], outcome.output
    assert outcome.status in expected_statuses(case), outcome.output
    alone = without_library(case.alone(app="idle"))
    assert not alone.hung
    limit = alone.seconds + 1 + (0 if case.cooperates else case.timeout)
    assert outcome.seconds <= limit, outcome.output


class Account:
    """What the app has written down about items and reports."""

    def __init__(self, path: Path) -> None:
        """Read it."""
        text = path.read_text() if path.exists() else ""
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]

    def numbers(self, kind: str) -> list[list[int]]:
        """Return the numbers of the items that ``on_item`` got, for each process, in its order."""
        by_process: dict[int, list[int]] = defaultdict(list)
        for line in self.lines:
            if line["kind"] == kind:
                by_process[line["pid"]].append(line["number"])
        return list(by_process.values())

    def sorted_numbers(self, *kinds: str) -> list[int]:
        """Return the numbers of all items of these kinds, whoever delivered them."""
        return sorted(line["number"] for line in self.lines if line["kind"] in kinds)

    def reports(self) -> list[dict[str, Any]]:
        """Return what was passed to ``on_report``."""
        return [line for line in self.lines if line["kind"] == "report"]

    def total(self, field: str) -> list[int]:
        """Return a field of each report."""
        return [report[field] for report in self.reports()]


def run(case: Case, tmp_path: Path) -> tuple[Outcome, Account]:
    """Run the case with the library."""
    path = tmp_path / "account"
    with started(case, path) as server:
        stop(server, case.how)
        outcome = server.finish(case.timeout + 10)
    return outcome, Account(path)


def cases(*listed: Case, smoke: tuple[Case, ...] = ()) -> pytest.MarkDecorator:
    """Parametrise a test by its table; those of the second one run on every Python.

    All run with `--long`. Otherwise every fifth does, so that the whole suite takes minutes.
    """
    listed = listed if "MPC_LONG" in os.environ else listed[::5]
    return pytest.mark.parametrize(
        "case",
        [pytest.param(case, id=str(case), marks=pytest.mark.smoke) for case in smoke]
        + [pytest.param(case, id=str(case)) for case in listed],
    )
