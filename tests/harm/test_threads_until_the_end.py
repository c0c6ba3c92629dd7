"""Threads and tasks of the app that put, get, submit or start until the end get no exception."""

from __future__ import annotations

import kit
import pytest
import until_the_end
from until_the_end import INT, SERVERS, TERM, long

SLACK = 2.5

TOGETHER = [
    ("put get get_in_task", False, INT),
    ("put put_simple get get_in_task", False, TERM),
    ("put put_simple get get_nothing_in_task", True, INT),
    ("put get get_nothing_in_task", True, TERM),
    ("put_managed send", False, TERM),
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
    until_the_end.assert_no_thread_sees_the_end(case, registered, server, stop, slack=SLACK)


AT_EXIT = r"""
    import concurrent.futures
    import multiprocessing
    import os
    import threading
    import time

    from asgi_mpclean import Registry
    from asgi_mpclean._cpython.discovery import threads_in_get
    from asgi_mpclean._shutdown import waking
    from asgi_mpclean._shutdown.request import Request
    from asgi_mpclean._shutdown.triggers import clean_up

    def get(queue):
        try:
            queue.get()
        finally:
            os.write(1, b"ended\n")

    if __name__ == "__main__":
        registry = Registry()
        WITHOUT
        queue = registry.register(multiprocessing.get_context("spawn").Queue())
        pool = concurrent.futures.ThreadPoolExecutor(1)
        pool.submit(get, queue)
        threading.Thread(target=get, args=(queue,)).start()
        while len(threads_in_get().get(id(queue), [])) < 2:
            time.sleep(0.001)
        clean_up(Request("test", 5.0, (registry,), going_away=GOING_AWAY))
        os.write(1, b"cleaned up\n")
"""


@pytest.mark.parametrize("without", ["", "waking.end_thread = lambda thread: False"])
@pytest.mark.parametrize("going_away", [True, False])
def test_threads_that_would_keep_the_process_alive_end_with_it(
    going_away: bool, without: str
) -> None:
    """Also where nothing can be raised in them, as in PyPy: what they read is closed."""
    program = AT_EXIT.replace("WITHOUT", without)
    outcome = kit.run(program.replace("GOING_AWAY", str(going_away)))
    words = sorted(outcome.output.splitlines())
    assert words == ["cleaned up", "ended", "ended"]
    assert outcome.output.startswith("cleaned up") or not going_away
    assert (outcome.hung, outcome.status, outcome.leaked) == (False, 0, {})
