"""What the tests share of threads and tasks of an app that go on until the end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import kit
import pytest

APP = "threads_app:app"
TIMEOUT = 2.0
SERVERS = {
    "uvicorn": ("uvicorn", APP, "--port", "{port}", "--log-level", "warning"),
    "hypercorn": ("hypercorn", APP, "--bind", "127.0.0.1:{port}", "--workers", "0"),
    "granian": ("granian", "--interface", "asgi", "--port", "{port}", APP),
    "gunicorn": ("gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}", APP),
}
NOISE = ("Traceback", "Exception in thread", "never retrieved", "Logging error")
INT, TERM = signal.SIGINT, signal.SIGTERM
long = pytest.mark.skipif(not kit.LONG, reason="--long")
# What a program does without the library differs from run to run; so often it is looked at.
LOOKS = 3


def assert_no_thread_sees_the_end(
    case: str, registered: bool, server: str, stop: int, *, slack: float
) -> None:
    """Stop the app while its threads go on: nothing goes wrong that does not without the library.

    Args:
        case: What the threads do, words of `threads_app`.
        registered: Whether what they use is registered.
        server: One of `SERVERS`.
        stop: The signal.
        slack: Seconds that the server may take besides the time of the clean-up.
    """
    wrong, after = _stop(case, registered, server, stop, slack, library=True)
    if wrong == {"late"}:  # The machine may be busy.
        wrong, after = _stop(case, registered, server, stop, slack, library=True)
    for _ in range(LOOKS):
        if wrong:
            wrong -= _stop(case, registered, server, stop, slack, library=False)[0]
    assert not wrong, f"{sorted(wrong)}: {after}"


def _stop(
    case: str, registered: bool, server: str, stop: int, slack: float, *, library: bool
) -> tuple[set[str], str]:
    """Return what goes wrong at a stop, and what is printed from then on."""
    env = {"CASE": case, "TIMEOUT": str(TIMEOUT), **({"REGISTERED": "1"} if registered else {})}
    with kit.running(*SERVERS[server], env=env, library=library) as run:
        run.wait_for_text(kit.READY, 30)
        run.wait_until_ready()
        begun = len(run.output)
        for pid in _told(run.pid, server, stop):
            os.kill(pid, stop)
        outcome = run.finish(TIMEOUT + 6)
    after = outcome.output[begun:]
    wrong = {word for word in NOISE if word in after}
    for name in ("hung", "orphans", "leaked"):
        if getattr(outcome, name):
            wrong.add(name)
    if outcome.seconds >= TIMEOUT + slack:
        wrong.add("late")
    return wrong, after


def _told(pid: int, server: str, stop: int) -> list[int]:
    """Return who gets the signal: not the plain workers, as they would print what CTRL-C does.

    gunicorn's arbiter tells its own worker of a CTRL-C by SIGQUIT, which uvicorn's does not hear.
    """
    if server != "gunicorn" or stop != INT:
        return [pid]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]
