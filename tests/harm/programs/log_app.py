"""Logging by a queue of multiprocessing, in several ways; each line is numbered."""

from __future__ import annotations

import atexit
import logging
import logging.handlers
import multiprocessing
import os
import sys
from typing import TYPE_CHECKING, Any

import harm_work
import uvicorn
from harm_serve import REGISTERED, app_of, say

import asgi_mpclean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ctx: Any = multiprocessing.get_context(os.environ.get("METHOD", "spawn"))
CASE = os.environ["CASE"]
logger = logging.getLogger("app")
made: dict[str, Any] = {}


class OwnHandler(logging.handlers.QueueHandler):
    """As the documentation has it for queues of other kinds."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Use `put`, as some queues have nothing else."""
        queue: Any = self.queue
        queue.put(record)


class Printer(logging.Handler):
    """What a listener in the server's own process writes to."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line."""
        say("LOG", record.getMessage())


def log_into(queue: Any) -> None:
    """Have all loggers, uvicorn's too, write into the queue."""
    handler = OwnHandler if CASE in {"own handler", "simple"} else None
    root = logging.getLogger()
    root.addHandler((handler or logging.handlers.QueueHandler)(queue))
    root.setLevel(logging.INFO)


def make() -> None:
    """Make the queue and who reads it."""
    queue = {"joinable": ctx.JoinableQueue, "simple": ctx.SimpleQueue}.get(CASE, ctx.Queue)()
    made["queue"] = queue
    if CASE.startswith("listener"):
        if REGISTERED:
            asgi_mpclean.register(queue)
        made["listener"] = logging.handlers.QueueListener(queue, Printer())
        made["listener"].start()
        if CASE == "listener until the exit":
            atexit.register(made["listener"].stop)
    elif REGISTERED:
        asgi_mpclean.register(queue)
        asgi_mpclean.Process(
            target=harm_work.write_log, args=(queue,), ctx=ctx, stop=lambda: queue.put(None)
        ).start()
    else:
        ctx.Process(target=harm_work.write_log, args=(queue,), daemon=True).start()
    if CASE == "worker logs too":
        made["stop"] = ctx.Event()
        worker = ctx.Process(target=harm_work.log_until_told, args=(queue, made["stop"]))
        worker.start()
        made["worker"] = worker
    log_into(queue)


async def case() -> AsyncIterator[None]:
    """Log at the beginning and at the end."""
    if "INSIDE" in os.environ:
        make()
    logger.info("line 1")
    yield
    logger.info("line 4")
    if "stop" in made:
        made["stop"].set()
        made["worker"].join()
    logger.info("line 5")
    if CASE == "listener stopped":
        made["listener"].stop()
        logger.info("nobody reads this")


def log() -> str:
    """Log in a request."""
    logger.info("line 2")
    logger.info("line 3")
    return "logged"


if __name__ == "__main__":
    if "INSIDE" not in os.environ:
        make()
    app = app_of(case, on_report=lambda _: logger.info("reported"), log=log)
    atexit.register(logger.info, "exit")
    uvicorn.run(app, port=int(os.environ["PORT"]), log_config=None)
    logger.info("after the server")
    say("returned")
    sys.exit(3)
