"""An app whose worker is stuck: it writes results that nobody reads, more than the pipe takes."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from appkit import (
    CONTEXT,
    PAYLOAD,
    REGISTERED,
    account,
    announce,
    build,
    count_as,
    pause,
    start_worker,
)

from asgi_mpclean import register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue

    Jobs = Queue[tuple[int, bytes] | None]
    Results = Queue[tuple[int, bytes]]

JOBS = 300


def work(jobs: Jobs, results: Results) -> None:
    """Turn jobs into results, till the sentinel."""
    seconds = pause("MPC_JOB_SECONDS")
    announce("worker ready")
    done = 0
    while (job := jobs.get()) is not None:
        if not REGISTERED:  # A plain worker: a signal that kills it takes this along.
            account(kind="begun")
        time.sleep(seconds)
        results.put(job)
        done += 1
        if done == JOBS:
            announce("worker done")


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Make the queues, start the worker and give it all its jobs."""
    jobs: Jobs = CONTEXT.Queue()
    # The size is that of the pipe, or, if the environment gives one, of the queue itself.
    results: Results = CONTEXT.Queue(int(os.environ.get("MPC_RESULTS_SIZE", "0")))
    if REGISTERED:
        register(jobs, name="jobs", on_item=count_as("job"))
        register(results, name="results", on_item=count_as("result"))
    worker = start_worker(work, jobs, results, stop=lambda: jobs.put(None))
    for number in range(JOBS):
        jobs.put((number, PAYLOAD))
    account(kind="put", count=JOBS)
    yield
    del worker


app = build(lifespan)
