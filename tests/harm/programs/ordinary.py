"""An ordinary script: workers are started, a server runs, and afterwards the workers are used.

Its words: how the app is served, how it is stopped (only "flag" is done here), and what of its
things it registers.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import serving
from starlette.applications import Starlette

from asgi_mpclean import Process, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import Callable

HOW, STOP, KIND = sys.argv[1:4] if len(sys.argv) > 1 else ("", "", "")
CTX: Any = multiprocessing.get_context(os.environ.get("METHOD", "spawn"))


def say(*words: object) -> None:
    print(*words, flush=True)


def double(jobs: Any, results: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # A worker that ends when it is told to.
    for job in iter(jobs.get, None):
        results.put(2 * job)


def make() -> tuple[Any, Any, Any]:
    jobs, results = CTX.Queue(), CTX.Queue()
    if KIND == "unregistered":
        return jobs, results, CTX.Process(target=double, args=(jobs, results))
    register(jobs)
    register(results)
    stop = lambda: jobs.put(None)  # noqa: E731
    return jobs, results, Process(target=double, args=(jobs, results), ctx=CTX, stop=stop)


def use_afterwards(jobs: Any, results: Any, worker: Any) -> None:
    say("after the server")
    if KIND == "unregistered":
        jobs.put(4)
    jobs.put(None)
    say("result", results.get(timeout=5))
    if KIND == "unregistered":
        say("result", results.get(timeout=5))
    worker.join(5)
    say("worker", worker.exitcode)


SERVE: dict[str, Callable[[Any], None]] = {
    "run": serving.by_uvicorn_run,
    "server": serving.by_uvicorn_server,
    "thread": serving.in_a_thread,
    "task": lambda app: asyncio.run(serving.beside_another_task(app)),
    "hypercorn": lambda app: asyncio.run(serving.by_hypercorn(app)),
    "granian": lambda app: asyncio.run(serving.by_granian(app)),
}


def main() -> None:
    jobs, results, worker = make()
    worker.start()
    jobs.put(3)
    while results.empty():
        threading.Event().wait(0.01)
    app = Starlette(lifespan=mpclean_lifespan())
    with contextlib.suppress(KeyboardInterrupt):
        SERVE[HOW](app)
    use_afterwards(jobs, results, worker)


if __name__ == "__main__":
    main()
