"""One run of a check: start, wait until it serves, put it to work, stop it, count."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import re
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import shm, tracing
from .errors import CheckError, ServerError
from .eventually import eventually
from .net import ask
from .processes import cpu_seconds
from .server import Server
from .system import prepare_probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asgi_mpclean._trace.findings import Findings as Traced

    from .commands import Target
    from .outcome import Outcome
    from .stops import Stop

    Progress = Callable[[str], object]

CANNOT_IMPORT = re.compile(
    r"Error loading ASGI app|ModuleNotFoundError: |ImportError: |SyntaxError: "
    r"|Failed to find attribute|has no attribute|ServerError: |AppImportError|NoAppError"
)
# What Linux and macOS call it, and what Windows does.
IN_USE = re.compile(r"address already in use|only one usage of each socket address", re.IGNORECASE)

WITHOUT_IT = 3.0
"""Seconds for it to answer all the same, once it has said that it cannot import something."""

SETTLED = 0.25
"""Seconds in which a server that has started, and has nothing to do, uses hardly any CPU."""

LITTLE = 0.015
"""Seconds of processor time that still are hardly any; the system counts in hundredths."""

SETTLING = 5.0
"""Seconds that a server is given for that; one with busy workers never comes to rest."""

WATCHING = 2.0
"""Seconds for a reloader to begin to watch; one that polls does not show when it does."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What is to be run.

    Attributes:
        target: What is started.
        stop: How it is stopped.
        library: Whether asgi_mpclean works, or is switched off to see the difference.
        requests: Method and path of each request that puts the app to work first.
        texts: What its processes have to have written before it is stopped, and how often; once
            more as often after a change.
        timeout: Seconds from the last signal to the end, after which it is said to hang.
        start_timeout: Seconds for it to answer, and for each request.
        port: The port; by default a free one.
        env: Environment variables on top of the present ones.
        trace: Whether to note which lines make what is left.
    """

    target: Target
    stop: Stop
    library: bool = True
    requests: tuple[tuple[str, str], ...] = ()
    texts: tuple[tuple[str, int], ...] = ()
    timeout: float = 15.0
    start_timeout: float = 30.0
    port: int | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    trace: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of it.

    Attributes:
        run: What was run.
        outcome: How the server ended.
        events: What asgi_mpclean wrote down in the app's processes.
        traced: Which lines made what is left, if that was noted.
    """

    run: Run
    outcome: Outcome
    events: list[dict[str, Any]]
    traced: Traced | None = None

    @property
    def leaked(self) -> dict[str, int]:
        """What leaked, by its kind: by what the system shows, or else by what the trace has seen.

        The resource tracker says it as well, but may have nobody to hear it; and the trace may not
        have reached it.
        """
        said = self.outcome.leaked
        seen = {} if shm.is_shown() else tracing.leaked(self.traced)
        return {kind: max(said.get(kind, 0), seen.get(kind, 0)) for kind in said | seen}

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The events that are the report of a clean-up that had something to do."""
        return [
            event
            for event in self.events
            if event["event"] == "report"
            and (event["report"]["resources"] or event["report"]["semaphores"])
        ]

    def total(self, field: str) -> int:
        """Return the sum of a number of all reports."""
        return sum(int(event["report"][field]) for event in self.reports)


def perform(run: Run, progress: Progress = lambda _step: None) -> Result:
    """Do the run.

    Args:
        run: What is to be run.
        progress: Called with a few words whenever something begins.

    Returns:
        What came of it; nothing is left of the server.

    Raises:
        CheckError: It did not come as far as to be stopped; the text says why.
    """
    if run.port is not None:
        _check_port(run.port)
    if run.stop.after_change:
        _file_to_change(run)
    # On Windows a file cannot be removed while what was killed still has it.
    with tempfile.TemporaryDirectory(prefix="mpclean-", ignore_cleanup_errors=True) as folder:
        journal = Path(folder, "journal")
        env = {**run.env, "ASGI_MPCLEAN_JOURNAL": str(journal)}
        if run.trace:
            env = tracing.environment(env, folder)
        with Server(
            *run.target.command, cwd=run.target.cwd, env=env, library=run.library, port=run.port
        ) as server:
            progress("starting")
            _wait_until_served(server, run)
            _wait_for_texts(server, run, times=1)
            _settle(server)
            for method, path in run.requests:
                progress(f"{method} {path}")
                _request(server, method, path, run.start_timeout)
            if run.stop.after_change:
                progress("changing a file")
                _change(server, run)
            progress(run.stop.title)
            run.stop.send(server)
            outcome = server.finish(run.timeout)
        lines = journal.read_text().splitlines() if journal.exists() else []
        traced = (
            tracing.read(run.target.command, server.pid, outcome, folder) if run.trace else None
        )
    return Result(run, outcome, [json.loads(line) for line in lines], traced)


def _file_to_change(run: Run) -> Path:
    if run.target.touch is None:
        message = "which file the reloader watches is not known: give one with --touch"
        raise CheckError(message)
    return run.target.touch


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        prepare_probe(probe)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"port {port} cannot be used: {error.strerror}"
            raise CheckError(message) from None


def _wait_until_served(server: Server, run: Run) -> None:
    answers, until = False, time.monotonic() + run.start_timeout

    def is_decided() -> bool:
        nonlocal answers, until
        answers = server.answers()
        # An app may go on without what it could not import.
        if CANNOT_IMPORT.search(server.output):
            until = min(until, time.monotonic() + WITHOUT_IT)
        return server.has_ended or answers or time.monotonic() >= until

    eventually(is_decided, run.start_timeout, every=0.05)
    # Not asked again: another of its processes may take that for its first request, and longer.
    if server.has_ended or not answers:
        raise CheckError(_why_not_served(server, run))


def _wait_for_texts(server: Server, run: Run, times: int) -> None:
    for text, count in run.texts:
        server.wait_for_text(text, run.start_timeout, count=count * times)


def _why_not_served(server: Server, run: Run) -> str:
    if server.has_ended:
        what = f"it ended at once, with exit status {server.status}"
    else:
        what = f"it did not answer in {run.start_timeout:g} s"
    if IN_USE.search(server.output):
        what = "the port is in use"
    elif CANNOT_IMPORT.search(server.output):
        what = "the app cannot be imported"
    last = "\n".join(server.output.rstrip().splitlines()[-12:])
    return f"{run.target.title}: {what}\n{last}".rstrip()


def _settle(server: Server) -> None:
    """Wait until its processes have nothing more to do: all of them have started, not only one."""
    used = -1.0

    def is_at_rest() -> bool:
        nonlocal used
        before, used = used, cpu_seconds(server.pids())
        return before >= 0 and 0 <= used - before <= LITTLE

    eventually(is_at_rest, SETTLING, every=SETTLED)


def _request(server: Server, method: str, path: str, timeout: float) -> None:
    try:
        status, _body = ask(server.port, method, path, timeout)
    except (OSError, http.client.HTTPException) as error:
        message = f"{method} {path} failed: {error}"
        raise CheckError(message) from error
    bad_request = 400
    if status >= bad_request:
        message = f"{method} {path} was answered with {status}"
        raise CheckError(message)


def _change(server: Server, run: Run) -> None:
    """Change the app's file, and wait until other processes serve."""
    file = _file_to_change(run)
    before = set(server.pids())
    # A change that a reloader has not begun to look for is none.
    with contextlib.suppress(ServerError):
        server.wait_until_watched(file.parent, WATCHING)

    def has_reacted() -> bool:
        file.touch()
        return eventually(lambda: bool(before - set(server.pids())), run.start_timeout / 4)

    if not eventually(has_reacted, run.start_timeout):
        message = f"{file} was changed, but nothing was reloaded in {run.start_timeout:g} s"
        raise CheckError(message)
    eventually(lambda: set(server.pids()) - before, run.start_timeout)
    _wait_until_served(server, run)
    _wait_for_texts(server, run, times=2)
    _settle(server)
