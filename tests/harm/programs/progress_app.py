"""Shutdowns of an app that take longer than the library's timeout, but get on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import harm_work
from harm_serve import app_of, say

import asgi_mpclean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ctx: Any = multiprocessing.get_context(os.environ.get("METHOD", "spawn"))
STEPS = 5
STEP = 0.35
"""Seconds; all steps together take longer than the timeout, none is long."""


def _worker(target: Any, *args: Any) -> Any:
    worker = ctx.Process(target=target, args=args)
    worker.start()
    return worker


def _answering(results: Any) -> tuple[Any, Any]:
    """Start a worker that is ready to answer; returns it with the queue of its jobs."""
    jobs = ctx.Queue()
    worker = _worker(harm_work.answer, jobs, results)
    jobs.put(0)
    results.get()
    return worker, jobs


async def joins() -> AsyncIterator[None]:
    """Workers end one after another, each in a time that is no reproach."""
    results = ctx.Queue()
    workers = [_answering(results) for _ in range(STEPS)]
    yield
    for number, (_, jobs) in enumerate(workers):
        jobs.put(STEP * (number + 1))
        jobs.put(None)
    for worker, _ in workers:
        worker.join()
        say("ended", worker.exitcode)
    for _ in workers:
        results.get()


async def answers() -> AsyncIterator[None]:
    """The last answers are read in the event loop's thread, one by one."""
    results = ctx.Queue()
    worker, jobs = _answering(results)
    yield
    for number in range(STEPS):
        jobs.put(STEP)
        say("answer", number, results.get())
    jobs.put(None)
    worker.join()
    say("ended", worker.exitcode)


async def pool() -> AsyncIterator[None]:
    """`Pool.join` waits for jobs that are done one after another."""
    with ctx.Pool(1, initializer=harm_work.ignore_interrupts) as workers:
        workers.apply(harm_work.sleep, (0,))
        results = workers.map_async(harm_work.sleep, [STEP] * STEPS, chunksize=1)
        yield
        workers.close()
        workers.join()
        say("results", results.get(0))


async def executor() -> AsyncIterator[None]:
    """So does `shutdown` of an executor."""
    workers = concurrent.futures.ProcessPoolExecutor(
        1, mp_context=ctx, initializer=harm_work.ignore_interrupts
    )
    workers.submit(harm_work.sleep, 0).result()
    futures = [workers.submit(harm_work.sleep, STEP) for _ in range(STEPS)]
    yield
    workers.shutdown()
    say("results", [future.result(0) for future in futures])


async def watchdog() -> AsyncIterator[None]:
    """A thread sits in `join` all the time, while the shutdown still works with that worker."""
    results = ctx.Queue()
    worker, jobs = _answering(results)
    threading.Thread(target=worker.join, daemon=True).start()
    yield
    for number in range(STEPS):
        await asyncio.sleep(STEP)
        jobs.put(0)
        say("answer", number, await asyncio.to_thread(results.get))
    jobs.put(None)
    worker.join()
    say("ended")  # Of two who wait, only one learns the exit code for certain.


async def supervisor() -> AsyncIterator[None]:
    """So does one that waits for a job of an executor, and one in `Pool.join`."""
    workers = concurrent.futures.ProcessPoolExecutor(1, mp_context=ctx)
    workers.submit(harm_work.sleep, 0).result()
    results = ctx.Queue()
    worker, jobs = _answering(results)
    ended = threading.Event()

    def supervise() -> None:
        while not ended.is_set():
            worker.join(60)
            time.sleep(0.01)

    threading.Thread(target=supervise, daemon=True).start()
    yield
    await asyncio.sleep(STEP * STEPS)
    say("job", workers.submit(harm_work.sleep, 0.1).result())
    workers.shutdown()
    jobs.put(0)
    say("answer", results.get())
    jobs.put(None)
    worker.join()
    ended.set()
    say("ended")


async def stuck() -> AsyncIterator[None]:
    """A wait in which nothing moves."""
    worker = _worker(harm_work.count, ctx.Queue(), 1000)
    yield
    worker.join()
    say("ended", worker.exitcode)


async def deferred_executor() -> AsyncIterator[None]:
    """The app leaves a shutdown that blocks to the next turn of the event loop."""
    workers = concurrent.futures.ProcessPoolExecutor(1, mp_context=ctx)
    if "REGISTERED" in os.environ:
        asgi_mpclean.register(workers)
    workers.submit(harm_work.sleep, 60)
    yield
    asyncio.get_running_loop().call_soon(workers.shutdown)


async def deferred_pool() -> AsyncIterator[None]:
    """The same of a pool."""
    begun = ctx.Event()
    workers = ctx.Pool(1, harm_work.remember, (begun,))
    result = workers.apply_async(harm_work.begin_and_sleep, (60,))
    begun.wait()  # A worker that CTRL-C kills before it has the job is replaced, and does it then.
    yield
    asyncio.get_running_loop().call_soon(result.wait)


async def deferred_join() -> AsyncIterator[None]:
    """The same of a worker, by a task that the app does not wait for."""
    worker = _worker(harm_work.count, ctx.Queue(), 1000)

    async def wait() -> None:
        worker.join()

    yield
    asyncio.get_running_loop().create_task(wait())


app = app_of(globals()[os.environ["CASE"]])
