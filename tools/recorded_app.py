"""The app of the recording: a worker whose results nobody reads, as when the readers have gone."""

from __future__ import annotations

import logging
import multiprocessing
from typing import TYPE_CHECKING

from fastapi import FastAPI

from asgi_mpclean import Process, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue

JOBS = 500
spawn = multiprocessing.get_context("spawn")
logging.basicConfig(format="%(levelname)s:     %(message)s", level=logging.INFO)


def work(jobs: Queue[int | None], results: Queue[bytes]) -> None:
    """Turn jobs into results."""
    for number in iter(jobs.get, None):
        results.put(bytes(1024))
        if number == JOBS:
            print(JOBS, "jobs done", flush=True)


@mpclean_lifespan
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Make the queues and the worker, and hand in the jobs."""
    jobs: Queue[int | None] = register(spawn.Queue(), on_item=[].append)
    results: Queue[bytes] = register(spawn.Queue(), on_item=[].append)
    Process(target=work, args=(jobs, results), ctx=spawn, stop=lambda: jobs.put(None)).start()
    for number in range(1, JOBS + 1):
        jobs.put(number)
    yield


app = FastAPI(lifespan=lifespan)
