"""FastAPI with a job queue and a worker process.

Start it, hand work in, and press CTRL-C:

    python examples/fastapi_app.py
    curl -X POST localhost:8000/jobs/7
    curl localhost:8000/status
"""

from __future__ import annotations

import multiprocessing
import os
from queue import Empty
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI, Request

from asgi_mpclean import Process, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue

spawn = multiprocessing.get_context("spawn")
finished: dict[int, int] = {}
unfinished: list[int] = []


def square_numbers(jobs: Queue[int | None], results: Queue[tuple[int, int]]) -> None:
    """Run in the worker process, until the sentinel comes."""
    for number in iter(jobs.get, None):
        results.put((number, number * number))


def save_job(number: int) -> None:
    """Keep a job that no worker took; a real app would write it to its database."""
    unfinished.append(number)


def save_result(result: tuple[int, int]) -> None:
    """Keep a result, whether it came before the shutdown or during it."""
    number, square = result
    finished[number] = square


# A spawned worker imports this file again. What is made in here is made once, by the server.
@mpclean_lifespan
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Make the queues and start the worker; the clean-up needs no code."""
    jobs: Queue[int | None] = register(spawn.Queue(), name="jobs", on_item=save_job)
    results: Queue[tuple[int, int]] = register(spawn.Queue(), name="results", on_item=save_result)
    worker = Process(
        target=square_numbers, args=(jobs, results), ctx=spawn, stop=lambda: jobs.put(None)
    )
    worker.start()
    yield {"jobs": jobs, "results": results}


app = FastAPI(lifespan=lifespan)


@app.post("/jobs/{number}", status_code=202)
async def submit(number: int, request: Request) -> dict[str, int]:
    """Hand a number to the worker."""
    request.state.jobs.put(number)
    return {"submitted": number}


@app.get("/status")
async def status(request: Request) -> dict[str, dict[int, int]]:
    """Show what the worker has finished so far."""
    try:
        while True:
            save_result(request.state.results.get_nowait())
    except Empty:
        return {"finished": finished}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
