"""An app with a pool, an executor and a manager, all busy, and more jobs than they can begin."""

from __future__ import annotations

import concurrent.futures
import multiprocessing.shared_memory
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from appkit import CONTEXT, REGISTERED, account, announce, build, pause

from asgi_mpclean import register, worker_init

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORKERS = 2
JOBS = 20
INITIALIZER = worker_init if REGISTERED else None
BUSY = os.environ.get("MPC_BUSY", "pool,executor,manager").split(",")
"""Which of those that have workers there are, and whether jobs use the manager.

A worker of a `Pool` cannot even unpickle such a job once a signal to all has ended the manager: it
ends without a word, and the job is gone.
"""


def work(shared: Any, number: int) -> int:
    """Take a while."""
    if number < WORKERS:
        announce("job begun")
    account(kind="begun")
    time.sleep(pause("MPC_JOB_SECONDS"))
    shared[number] = os.getpid()
    account(kind="taken")
    return number


def failed(_error: BaseException) -> None:
    """Write down that the app was told that a job will not be done."""
    account(kind="failed")


def note_failure(future: concurrent.futures.Future[int]) -> None:
    """Do so if it will not."""
    if future.cancelled() or future.exception():
        account(kind="failed")


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Make one of each, and keep those with workers busy."""
    manager = CONTEXT.Manager()
    shared: Any = manager.dict() if "manager" in BUSY else {}
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=1000)
    made: list[Any] = [manager, memory]
    results: list[Any] = []
    if "pool" in BUSY:
        pool = CONTEXT.Pool(WORKERS, initializer=INITIALIZER)
        results += [
            pool.apply_async(work, (shared, number), error_callback=failed)
            for number in range(JOBS)
        ]
        made.append(pool)
    if "executor" in BUSY:
        executor = concurrent.futures.ProcessPoolExecutor(WORKERS, CONTEXT, INITIALIZER)
        futures = [executor.submit(work, shared, number) for number in range(JOBS)]
        for future in futures:
            future.add_done_callback(note_failure)
        results += futures
        made.append(executor)
    account(kind="put", count=len(results))
    if REGISTERED:
        for resource in made:
            register(resource)
    yield
    del results


app = build(lifespan)
