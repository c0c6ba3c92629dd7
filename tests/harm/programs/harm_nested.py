"""Workers that have workers."""

from __future__ import annotations

import concurrent.futures
import importlib
import multiprocessing
import time
from typing import Any

import harm_work

import asgi_mpclean

ctx: Any = multiprocessing.get_context("spawn")


def executor(ready: Any) -> None:
    """Forget an executor."""
    workers = concurrent.futures.ProcessPoolExecutor(
        1, mp_context=ctx, initializer=asgi_mpclean.worker_init
    )
    workers.submit(harm_work.sleep, 0).result()
    ready.set()
    time.sleep(1000)


def busy_executor(ready: Any) -> None:
    """Forget one that is at work."""
    workers = concurrent.futures.ProcessPoolExecutor(
        1, mp_context=ctx, initializer=asgi_mpclean.worker_init
    )
    workers.submit(harm_work.sleep, 0).result()
    workers.submit(harm_work.sleep, 600)
    ready.set()
    time.sleep(1000)


def executor_block(ready: Any) -> None:
    """Leave its block, which waits for it."""
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=ctx, initializer=asgi_mpclean.worker_init
    ) as workers:
        workers.submit(harm_work.sleep, 0).result()
        ready.set()
        time.sleep(1000)


def pool(ready: Any) -> None:
    """Forget a pool."""
    workers = ctx.Pool(1, initializer=asgi_mpclean.worker_init)
    workers.apply(harm_work.sleep, (0,))
    ready.set()
    time.sleep(1000)


def child(ready: Any) -> None:
    """Forget a child that is no daemon."""
    jobs = ctx.Queue()
    ctx.Process(target=harm_work.take, args=(jobs,)).start()
    ready.set()
    time.sleep(1000)


def registered_child(ready: Any) -> None:
    """Forget one that is registered."""
    jobs = ctx.Queue()
    asgi_mpclean.Process(target=harm_work.take, args=(jobs,), ctx=ctx).start()
    ready.set()
    time.sleep(1000)


def joblib(ready: Any) -> None:
    """Use joblib."""
    package = importlib.import_module("joblib")
    package.Parallel(n_jobs=2)(package.delayed(harm_work.sleep)(0.01) for _ in range(4))
    ready.set()
    time.sleep(1000)
