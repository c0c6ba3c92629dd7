"""An app with queues and a worker, for a server that is stopped by CTRL-C."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import win_peers
import workers

from asgi_mpclean import Process, mpclean_lifespan, register, restart, worker_init

KIND = os.environ.get("APP_KIND", "queues")


def say(*words: object) -> None:
    print(*words, flush=True)


async def set_up(_app: Any) -> Any:
    """Make what a server is to end; yields while that serves."""
    jobs: Any = register(multiprocessing.Queue(), on_item=lambda item: say("job", item))
    results: Any = register(multiprocessing.Queue(), on_item=lambda item: say("result", item[0]))
    if KIND == "queues":
        for number in range(5):
            jobs.put(number)
    elif KIND == "blocked":  # Nobody reads what it writes.
        worker = Process(target=workers.fill, args=(results, 100))
        worker.start()
        results._reader.poll(20)
        say("worker", worker.pid)
    elif KIND == "idle":
        ready = multiprocessing.Event()
        worker = Process(target=win_peers.read, args=(jobs, ready))
        worker.start()
        ready.wait(20)
        say("worker", worker.pid)
    elif KIND == "pool":
        pool: Any = multiprocessing.Pool(1, initializer=worker_init)
        pool.apply(int)
        say("worker", pool._pool[0].pid)
    yield
    say("app shut down")


lifespan = mpclean_lifespan(set_up, on_report=lambda report: say("report", report.summary()))


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        async with lifespan(app):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/restart" and not os.environ.get("RESTARTED"):
        os.environ["RESTARTED"] = "yes"
        restart()
    body = f"{os.getpid()} {os.environ.get('RESTARTED', 'no')}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
