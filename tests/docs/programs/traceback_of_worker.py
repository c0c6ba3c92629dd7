"""A server with a worker, and CTRL-C, which goes to both."""

import multiprocessing
import os
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette

from asgi_mpclean import Process, mpclean_lifespan, register

spawn = multiprocessing.get_context("spawn")


def work(jobs: Any) -> None:
    """Wait for a job."""
    os.write(1, b"working\n")  # In one piece.
    jobs.get()


@mpclean_lifespan
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Start the worker."""
    jobs = register(spawn.Queue())
    Process(target=work, args=(jobs,), ctx=spawn, stop=lambda: jobs.put(None)).start()
    yield


if __name__ == "__main__":
    uvicorn.run(Starlette(lifespan=lifespan), port=int(os.environ["PORT"]))
