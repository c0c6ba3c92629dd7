"""Quart with a job queue and a worker process; the app is wrapped.

Start it, hand work in, and press CTRL-C:

    python examples/quart_app.py
    curl -X POST localhost:8000/jobs/7
    curl localhost:8000/finished
"""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING, Any

import uvicorn
from quart import Quart

from asgi_mpclean import MPCleanLifespan, Process, register

if TYPE_CHECKING:
    from multiprocessing.queues import Queue, SimpleQueue

spawn = multiprocessing.get_context("spawn")
site = Quart(__name__)
app = MPCleanLifespan(site)
finished: list[int] = []
queues: dict[str, Any] = {}


def square_numbers(jobs: Queue[int | None], results: SimpleQueue[int]) -> None:
    """Run in the worker process, until the sentinel comes."""
    for number in iter(jobs.get, None):
        results.put(number * number)


@site.before_serving
async def start() -> None:
    """Make the queues and start the worker; the clean-up needs no code."""
    jobs: Queue[int | None] = register(spawn.Queue(), name="jobs", on_item=finished.append)
    results: SimpleQueue[int] = register(spawn.SimpleQueue(), on_item=finished.append)
    Process(
        target=square_numbers, args=(jobs, results), ctx=spawn, stop=lambda: jobs.put(None)
    ).start()
    queues.update(jobs=jobs, results=results)


@site.post("/jobs/<int:number>")
async def submit(number: int) -> tuple[str, int]:
    """Hand a number to the worker."""
    queues["jobs"].put(number)
    return f"submitted {number}", 202


@site.get("/finished")
async def show_finished() -> list[int]:
    """Take the results that are there."""
    while not queues["results"].empty():
        finished.append(queues["results"].get())
    return finished


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
