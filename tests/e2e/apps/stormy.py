"""An app that says how far it has come, for signals at any moment: each step takes a little while.

It makes queues where an app can: at module level, so that each worker that imports this file makes
them as well, and in the lifespan; registered or not, with items in them; and it starts a worker.
With MPC_PLAIN it takes the same steps without any of that, and without the library; with MPC_PACE
none sooner after the first one than is said there.
"""

from __future__ import annotations

import json
import os
import time

MARKS = os.open(os.environ["MPC_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
STEP = 0.02
PLAIN = "MPC_PLAIN" in os.environ
PACE: dict[str, float] = json.loads(os.environ.get("MPC_PACE", "{}"))
BEGUN = time.monotonic()


def mark(step: str) -> None:
    """Write down which process has come so far, and when; then linger."""
    name = "worker: " if _in_worker() else ""
    time.sleep(max(0.0, BEGUN + PACE.get(step, 0.0) - time.monotonic()))
    os.write(MARKS, f"{time.monotonic()} {os.getpid()} {name}{step}\n".encode())
    time.sleep(STEP)


def _in_worker() -> bool:
    import multiprocessing  # noqa: PLC0415 - the first mark comes before everything else

    return multiprocessing.current_process().name == WORKER


WORKER = "storm-worker"
ITEMS = 300
mark("app begun")

import asyncio  # noqa: E402
import multiprocessing  # noqa: E402
from contextlib import asynccontextmanager  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from starlette.applications import Starlette  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue

    Items = Queue[tuple[int, bytes] | None]

mark("framework imported")
if not PLAIN:
    from asgi_mpclean import MPCleanLifespan, Process, register

mark("library imported")
spawn = multiprocessing.get_context("spawn")


def fill(queue: Items) -> None:
    """Put in more than the pipe takes."""
    for number in range(ITEMS):
        queue.put((number, b"x" * 1024))


def work(jobs: Items, results: Items) -> None:
    """Turn jobs into results that nobody reads."""
    mark("ready")
    while (job := jobs.get()) is not None:
        results.put(job)


if not PLAIN:
    unregistered: Items = spawn.Queue()
    early: Items = spawn.Queue()
mark("queues made")
if not PLAIN:
    register(early, on_item=lambda _item: None)
mark("queue registered")
if not PLAIN:
    early.put((0, b""))
    unregistered.put((0, b""))


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Make queues, start a worker and give it more than it can do."""
    mark("lifespan begun")
    if not PLAIN:
        jobs: Items = spawn.Queue()
        results: Items = spawn.Queue()
    mark("lifespan's queues made")
    if not PLAIN:
        register(jobs, on_item=lambda _item: None)
        register(results, on_item=lambda _item: None)
    await asyncio.sleep(STEP)
    if not PLAIN:
        Process(target=work, args=(jobs, results), ctx=spawn, name=WORKER).start()
    mark("worker started")
    if not PLAIN:
        fill(jobs)
        fill(early)
    await asyncio.sleep(1 if PLAIN and not PACE else STEP)
    mark("serving")
    yield
    mark("lifespan ending")


app: Any = Starlette(lifespan=lifespan)
if not PLAIN:
    app = MPCleanLifespan(app)
mark("app imported")
