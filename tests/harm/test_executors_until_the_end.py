"""Threads and tasks of the app that submit jobs or start workers until the end: no exception."""

from __future__ import annotations

import os
import signal

import kit
import pytest

APP = "threads_app:app"
TIMEOUT = 2.0
SLACK = 4.0  # On a busy machine the server alone takes two seconds.
SERVERS = {
    "uvicorn": ("uvicorn", APP, "--port", "{port}", "--log-level", "warning"),
    "hypercorn": ("hypercorn", APP, "--bind", "127.0.0.1:{port}", "--workers", "0"),
    "granian": ("granian", "--interface", "asgi", "--port", "{port}", APP),
    "gunicorn": ("gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}", APP),
}
SPEAKS = ("Traceback", "Exception in thread", "never retrieved", "asgi_mpclean", "Logging error")
long = pytest.mark.skipif(not kit.LONG, reason="--long")

INT, TERM = signal.SIGINT, signal.SIGTERM
# After CTRL-C Python itself refuses these at its exit, with a traceback, in a thread that goes on.
TOGETHER = "submit result apply job_in_task"
CELLS = [
    (TOGETHER, False, TERM),
    ("restart", False, TERM),
]
ALONE = [
    (TOGETHER, True, TERM),
    *((case, registered, TERM) for case in TOGETHER.split() for registered in (False, True)),
    ("restart", True, TERM),
    ("job_in_task", False, INT),
    ("job_in_task", True, INT),
    ("restart", False, INT),
]


@pytest.mark.parametrize(
    "server", ["uvicorn", *(pytest.param(s, marks=long) for s in SERVERS if s != "uvicorn")]
)
@pytest.mark.parametrize(
    ("case", "registered", "stop"),
    [*CELLS, *(pytest.param(*cell, marks=long) for cell in ALONE)],
)
def test_no_thread_of_the_app_sees_the_end(
    case: str, registered: bool, server: str, stop: int
) -> None:
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
    assert outcome.seconds < TIMEOUT + SLACK
    assert not outcome.orphans
    assert not outcome.leaked, after
