"""An app with two queues at module level: with --preload the master makes them for all workers."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI

from asgi_mpclean import MPCleanLifespan, register

if TYPE_CHECKING:
    from multiprocessing.queues import Queue


def delivered(item: int) -> None:
    """Tell which process was given which item, in one piece."""
    os.write(1, f"item {item} to {os.getpid()}\n".encode())


spawn = multiprocessing.get_context("spawn")
unregistered = spawn.Queue()
jobs: Queue[int] = register(spawn.Queue(), name="jobs", on_item=delivered)

app = FastAPI()
app.add_middleware(MPCleanLifespan)


@app.get("/")
async def worker() -> int:
    """Tell which worker this is."""
    return os.getpid()


@app.get("/put/{first}/{last}")
def put(first: int, last: int) -> int:
    """Put items into the queue and tell which worker did it."""
    for number in range(first, last):
        jobs.put(number)
    return os.getpid()


@app.get("/take")
def take() -> int:
    """Take one item, as any worker may."""
    return jobs.get(timeout=5)


@app.get("/semaphores")
def semaphores() -> int:
    """Count the semaphores of the queue that still have their names."""
    locks = (jobs._rlock, jobs._wlock, jobs._sem)  # type: ignore[attr-defined]
    names = [lock._semlock.name.lstrip("/") for lock in locks]
    return sum(Path(f"/dev/shm/sem.{name}").exists() for name in names)
