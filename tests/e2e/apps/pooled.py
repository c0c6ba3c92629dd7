"""An app with a pool, an executor and a manager, all busy, and more jobs than they can begin."""

from __future__ import annotations

import concurrent.futures
import multiprocessing.shared_memory
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from appkit import CONTEXT, REGISTERED, announce, build, pause

from asgi_mpclean import register, worker_init

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORKERS = 2
JOBS = 20


def work(shared: Any, number: int) -> int:
    """Take a while."""
    if number < WORKERS:
        announce("job begun")
    time.sleep(pause("MPC_JOB_SECONDS"))
    shared[number] = os.getpid()
    return number


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Make one of each, and keep the two with workers busy."""
    manager = CONTEXT.Manager()
    shared = manager.dict()
    pool = CONTEXT.Pool(WORKERS, initializer=worker_init)
    executor = concurrent.futures.ProcessPoolExecutor(WORKERS, CONTEXT, worker_init)
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=1000)
    if REGISTERED:
        for resource in (manager, pool, executor, memory):
            register(resource)
    results = [pool.apply_async(work, (shared, number)) for number in range(JOBS)]
    futures = [executor.submit(work, shared, number) for number in range(JOBS)]
    yield
    del results, futures


app = build(lifespan)
