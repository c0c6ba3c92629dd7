"""What the tests share of threads and tasks of an app that go on until the end."""

from __future__ import annotations

import os
import signal

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
SPEAKS = ("Traceback", "Exception in thread", "never retrieved", "asgi_mpclean", "Logging error")
INT, TERM = signal.SIGINT, signal.SIGTERM
long = pytest.mark.skipif(not kit.LONG, reason="--long")


def assert_no_thread_sees_the_end(
    case: str, registered: bool, server: str, stop: int, *, slack: float
) -> None:
    """Stop the app while its threads go on: nothing is printed, left, leaked or late."""
    env = {"CASE": case, "TIMEOUT": str(TIMEOUT), **({"REGISTERED": "1"} if registered else {})}
    with kit.running(*SERVERS[server], env=env) as run:
        run.wait_for_text(kit.READY, 30)
        run.wait_until_ready()
        begun = len(run.output)
        os.kill(run.pid, stop)  # Alone, as plain workers would print what a CTRL-C does to them.
        outcome = run.finish(TIMEOUT + 6)
    after = outcome.output[begun:]
    assert not [word for word in SPEAKS[:3] if word in after], after
    assert not outcome.hung, after
    assert outcome.seconds < TIMEOUT + slack
    assert not outcome.orphans
    assert not outcome.leaked, after
