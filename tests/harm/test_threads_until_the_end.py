"""Threads and tasks of the app that put, get, submit or start until the end get no exception."""

from __future__ import annotations

import os
import signal

import kit
import pytest

APP = "threads_app:app"
TIMEOUT = 2.0
SLACK = 2.5
SERVERS = {
    "uvicorn": ("uvicorn", APP, "--port", "{port}", "--log-level", "warning"),
    "hypercorn": ("hypercorn", APP, "--bind", "127.0.0.1:{port}", "--workers", "0"),
    "granian": ("granian", "--interface", "asgi", "--port", "{port}", APP),
    "gunicorn": ("gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}", APP),
}
SPEAKS = ("Traceback", "Exception in thread", "never retrieved", "asgi_mpclean", "Logging error")
long = pytest.mark.skipif(not kit.LONG, reason="--long")

INT, TERM = signal.SIGINT, signal.SIGTERM
TOGETHER = [
    ("put get get_in_task", False, INT),
    ("put put_simple get get_in_task", False, TERM),
    ("put put_simple get get_nothing_in_task", True, INT),
    ("put get get_nothing_in_task", True, TERM),
]
UNREGISTERED = (
    "put put_joinable put_simple put_managed send get get_with_timeout get_in_task "
    "get_nothing_in_task"
)
REGISTERED = "put put_simple put_managed get get_in_task"
ALONE = [
    *((case, False, stop) for case in UNREGISTERED.split() for stop in (INT, TERM)),
    *((case, True, stop) for case in REGISTERED.split() for stop in (INT, TERM)),
]


@pytest.mark.parametrize(
    "server", ["uvicorn", *(pytest.param(s, marks=long) for s in SERVERS if s != "uvicorn")]
)
@pytest.mark.parametrize(
    ("case", "registered", "stop"),
    [
        *TOGETHER,
        *(pytest.param(*cell, marks=long) for cell in ALONE),
    ],
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


AT_EXIT = r"""
    import concurrent.futures
    import multiprocessing
    import os
    import threading
    import time

    from asgi_mpclean import Registry
    from asgi_mpclean._cpython.discovery import threads_in_get
    from asgi_mpclean._shutdown.request import Request
    from asgi_mpclean._shutdown.triggers import clean_up

    def get(queue):
        try:
            queue.get()
        finally:
            os.write(1, b"ended\n")

    if __name__ == "__main__":
        registry = Registry()
        queue = registry.register(multiprocessing.get_context("spawn").Queue())
        pool = concurrent.futures.ThreadPoolExecutor(1)
        pool.submit(get, queue)
        threading.Thread(target=get, args=(queue,)).start()
        while len(threads_in_get().get(id(queue), [])) < 2:
            time.sleep(0.001)
        clean_up(Request("test", 5.0, (registry,), going_away=GOING_AWAY))
        os.write(1, b"cleaned up\n")
"""


@pytest.mark.parametrize("going_away", [True, False])
def test_threads_that_would_keep_the_process_alive_end_with_it(going_away: bool) -> None:
    outcome = kit.run(AT_EXIT.replace("GOING_AWAY", str(going_away)))
    words = sorted(outcome.output.splitlines())
    assert words == ["cleaned up", "ended", "ended"]
    assert outcome.output.startswith("cleaned up") or not going_away
    assert (outcome.hung, outcome.status, outcome.leaked) == (False, 0, {})
