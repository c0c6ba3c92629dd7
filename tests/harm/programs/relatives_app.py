"""Pools and the like of other packages in an app, besides a queue and a worker of its own."""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import time
from typing import TYPE_CHECKING, Any

import harm_work
from harm_serve import app_of, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ctx: Any = multiprocessing.get_context(os.environ.get("METHOD", "spawn"))
CASE = os.environ["CASE"]
made: dict[str, Any] = {}


def _module(name: str) -> Any:
    return importlib.import_module(name)


def billiard() -> None:
    """Celery's copy of multiprocessing; its pool registers itself as multiprocessing's does."""
    pool = _module("billiard").get_context("spawn").Pool(2)
    made["pool"], made["use"] = pool, lambda: pool.map(harm_work.sleep, [0.01] * 4)


def multiprocess() -> None:
    """multiprocessing with dill; all its names are the same."""
    pool = _module("multiprocess").get_context("spawn").Pool(2)
    made["pool"], made["use"] = pool, lambda: pool.map(harm_work.sleep, [0.01] * 4)


def multiprocess_queue() -> None:
    """A queue of it, with items that nobody has read, and a worker."""
    context = _module("multiprocess").get_context("spawn")
    jobs, results = context.Queue(), context.Queue()
    worker = context.Process(target=harm_work.answer, args=(jobs, results))
    worker.start()
    made["pool"] = worker

    def use() -> None:
        jobs.put(0)
        results.get()
        jobs.put(0)

    made["use"] = use


def loky() -> None:
    """What joblib uses."""
    executor = _module("loky").get_reusable_executor(max_workers=2)
    made["pool"] = executor
    made["use"] = lambda: list(executor.map(harm_work.sleep, [0.01] * 4))


def joblib() -> None:
    """Its copy of loky."""
    package = _module("joblib")
    made["use"] = lambda: package.Parallel(n_jobs=2)(
        package.delayed(harm_work.sleep)(0.01) for _ in range(4)
    )


def joblib_multiprocessing() -> None:
    """Its other backend."""
    package = _module("joblib")
    made["use"] = lambda: package.Parallel(n_jobs=2, backend="multiprocessing")(
        package.delayed(harm_work.sleep)(0.01) for _ in range(4)
    )


def pebble() -> None:
    """A pool with timeouts."""
    pool = _module("pebble").ProcessPool(2, context=ctx)
    made["pool"] = pool
    made["use"] = lambda: list(pool.map(harm_work.sleep, [0.01] * 4).result())


def mpire() -> None:
    """A pool that restarts its workers and has threads that look after them."""
    pool = _module("mpire").WorkerPool(2, start_method="spawn", keep_alive=True)
    made["pool"], made["use"] = pool, lambda: pool.map(harm_work.sleep, [0.01] * 4)


def aiomultiprocess() -> None:
    """A pool of event loops; its own loop starts workers anew."""
    package = _module("aiomultiprocess")
    package.set_start_method("spawn")
    pool = package.Pool(2)
    made["pool"] = pool
    made["await"] = lambda: pool.map(harm_work.sleep_async, [0.01] * 4)


def apscheduler() -> None:
    """A scheduler that submits to an executor until it is told to stop, which nobody does."""
    background = _module("apscheduler.schedulers.background")
    executors = _module("apscheduler.executors.pool")
    pool = executors.ProcessPoolExecutor(1, {"mp_context": ctx})
    scheduler = background.BackgroundScheduler(executors={"default": pool})
    # However late it is, it says nothing.
    often = {"seconds": 0.01, "max_instances": 10**6, "misfire_grace_time": None}
    scheduler.add_job(harm_work.sleep, "interval", (0.001,), **often)
    scheduler.start()
    made["pool"], made["use"] = scheduler, lambda: time.sleep(0.5)


async def case() -> AsyncIterator[None]:
    """Make it, and something that is ours to clean up."""
    jobs, results = ctx.Queue(), ctx.Queue()
    worker = ctx.Process(target=harm_work.answer, args=(jobs, results), daemon=True)
    worker.start()
    jobs.put(0)
    await asyncio.to_thread(results.get)
    made["ours"] = jobs, results, worker
    globals()[CASE]()
    if "USE" in os.environ:
        if "await" in made:
            await made["await"]()
        else:
            await asyncio.to_thread(made["use"])
        say("used")
    yield


app = app_of(case)
