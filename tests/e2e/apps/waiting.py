"""An app that waits, in its own shutdown, for what does not end by itself."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from appkit import CONTEXT, PAYLOAD, announce, build, count_as

from asgi_mpclean import register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue

    Results = Queue[tuple[int, bytes]]

RESULTS = 300
WAIT = os.environ.get("MPC_WAIT", "join")


def work(results: Results) -> None:
    """Fill the pipe, which nobody reads."""
    announce("worker ready")
    for number in range(RESULTS):
        results.put((number, PAYLOAD))


kept: list[Results] = []


def keep(results: Results) -> None:
    """Be given what no job can be given."""
    kept.append(results)


def work_by_pool() -> None:
    """Do the same as a job of a pool, whose workers have been given the queue."""
    work(kept[0])


def sleep() -> None:
    """Be busy for longer than anybody waits."""
    announce("worker ready")
    time.sleep(600)


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Wait in one of the ways."""
    results: Results = register(CONTEXT.Queue(), name="results", on_item=count_as("result"))
    if WAIT in ("join", "thread"):
        worker = CONTEXT.Process(target=work, args=(results,))
        worker.start()
        yield
        if WAIT == "join":
            worker.join()
        else:
            await asyncio.to_thread(worker.join)
    elif WAIT == "queue":
        work(results)
        yield
        results.close()
        results.join_thread()
    elif WAIT == "pool":
        # Ended by terminate(), which a CTRL-C to the workers makes wait for ever.
        with CONTEXT.Pool(2) as pool:
            pool.apply(announce, ("worker ready",))
            yield
    elif WAIT == "job":
        pool = CONTEXT.Pool(1, keep, (results,))
        pool.apply_async(work_by_pool)
        yield
        pool.close()
        pool.join()
    elif WAIT == "executor":
        with concurrent.futures.ProcessPoolExecutor(1, CONTEXT) as executor:
            executor.submit(sleep)
            yield
    else:
        # For nothing of multiprocessing: it may take as long as it likes, and use the queue then.
        announce("worker ready")
        yield
        await asyncio.sleep(2)
        work(results)


app = build(lifespan)
