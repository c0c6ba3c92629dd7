"""Litestar with a job queue and a worker process; the app is wrapped.

Start it, hand work in, and press CTRL-C:

    python examples/litestar_app.py
    curl -X POST localhost:8000/jobs/7
    curl localhost:8000/finished
"""

from __future__ import annotations

import multiprocessing
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvicorn
from litestar import Litestar, get, post

from asgi_mpclean import MPCleanLifespan, Process, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue, SimpleQueue

spawn = multiprocessing.get_context("spawn")
finished: list[int] = []


def square_numbers(jobs: Queue[int | None], results: SimpleQueue[int]) -> None:
    """Run in the worker process, until the sentinel comes."""
    for number in iter(jobs.get, None):
        results.put(number * number)


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    """Make the queues and start the worker; the clean-up needs no code."""
    jobs: Queue[int | None] = register(spawn.Queue(), name="jobs", on_item=finished.append)
    results: SimpleQueue[int] = register(spawn.SimpleQueue(), on_item=finished.append)
    Process(
        target=square_numbers, args=(jobs, results), ctx=spawn, stop=lambda: jobs.put(None)
    ).start()
    app.state.jobs, app.state.results = jobs, results
    yield


@get("/", sync_to_thread=False)
def index() -> str:
    """Say that it is there."""
    return "ready"


@post("/jobs/{number:int}", status_code=202, sync_to_thread=False)
def submit(number: int) -> int:
    """Hand a number to the worker."""
    site.state.jobs.put(number)
    return number


@get("/finished", sync_to_thread=False)
def show_finished() -> list[int]:
    """Take the results that are there."""
    while not site.state.results.empty():
        finished.append(site.state.results.get())
    return finished


site = Litestar([index, submit, show_finished], lifespan=[lifespan])
app = MPCleanLifespan(site)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
