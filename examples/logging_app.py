"""FastAPI with a worker whose log records go through a queue to the server's log.

Start it, hand work in, and press CTRL-C. The last lines of the worker arrive as well:

    python examples/logging_app.py
    curl -X POST localhost:8000/jobs/7
"""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI, Request

from asgi_mpclean import Process, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue

    Records = Queue[logging.LogRecord]

spawn = multiprocessing.get_context("spawn")


def work(jobs: Queue[int | None], records: Records) -> None:
    """Run in the worker process, until the sentinel comes."""
    log = logging.getLogger("work")
    log.addHandler(logging.handlers.QueueHandler(records))
    log.setLevel(logging.INFO)
    for number in iter(jobs.get, None):
        log.info("%s squared is %s", number, number * number)
    log.info("the worker ends")


@mpclean_lifespan
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Make the queues, and start the listener and the worker; the clean-up needs no code."""
    records: Records = register(spawn.Queue(), name="records")
    logging.handlers.QueueListener(records, logging.StreamHandler()).start()
    jobs: Queue[int | None] = register(spawn.Queue(), name="jobs", on_item=print)
    Process(target=work, args=(jobs, records), ctx=spawn, stop=lambda: jobs.put(None)).start()
    yield {"jobs": jobs}


app = FastAPI(lifespan=lifespan)


@app.post("/jobs/{number}", status_code=202)
async def submit(number: int, request: Request) -> None:
    """Hand a number to the worker."""
    request.state.jobs.put(number)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
