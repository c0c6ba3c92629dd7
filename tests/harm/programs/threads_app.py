"""Threads and tasks of the app that use what multiprocessing made until the program is over."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import harm_work
from harm_serve import REGISTERED, app_of

import asgi_mpclean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ctx: Any = multiprocessing.get_context(os.environ.get("METHOD", "spawn"))
PAUSE = 0.002
tasks: list[Any] = []


def _kept(resource: Any) -> Any:
    return asgi_mpclean.register(resource) if REGISTERED else resource


def _worker(target: Any, *args: Any, stop: Callable[[], object] | None = None) -> None:
    if REGISTERED:
        asgi_mpclean.Process(target=target, args=args, ctx=ctx, stop=stop).start()
    else:
        ctx.Process(target=target, args=args, daemon=True).start()


def _again_and_again(function: Callable[..., object], *args: Any) -> None:
    def run() -> None:
        while True:
            function(*args)
            time.sleep(PAUSE)

    threading.Thread(target=run, daemon=True).start()


def _put(jobs: Any) -> None:
    _worker(harm_work.take, jobs, stop=lambda: jobs.put(None))
    _again_and_again(jobs.put, b"a frame")


def put() -> None:
    """Put into a queue."""
    _put(_kept(ctx.Queue()))


def put_joinable() -> None:
    """Put into a JoinableQueue."""
    _put(_kept(ctx.JoinableQueue()))


def put_simple() -> None:
    """Put into a SimpleQueue."""
    _put(_kept(ctx.SimpleQueue()))


def put_managed() -> None:
    """Put into a manager's queue, from the thread that would notice its end."""
    manager = _kept(ctx.Manager())
    tasks.append(manager)
    _put(manager.Queue())


def send() -> None:
    """Send into a pipe."""
    receiving, sending = ctx.Pipe(duplex=False)
    _kept(sending)
    _worker(harm_work.receive, receiving)
    _again_and_again(sending.send, b"a frame")


def _results() -> Any:
    results = _kept(ctx.Queue())
    _worker(harm_work.count, results, PAUSE)
    return results


def get() -> None:
    """Read a queue in a thread."""
    _again_and_again(_results().get)


def get_with_timeout() -> None:
    """Read it with a timeout that does not run out."""
    results = _results()
    _again_and_again(lambda: results.get(timeout=60))


def _task(call: Callable[[], object]) -> None:
    async def read() -> None:
        while True:
            await asyncio.to_thread(call)

    tasks.append(asyncio.get_running_loop().create_task(read()))


def get_in_task() -> None:
    """Read it in a task, by a thread of the event loop's."""
    _task(_results().get)


def get_nothing_in_task() -> None:
    """The same where nothing comes, as the worker has nothing to say."""
    results = _kept(ctx.Queue())
    _worker(harm_work.count, results, 1000)
    _task(results.get)


def _executor() -> Any:
    executor = concurrent.futures.ProcessPoolExecutor(
        1, mp_context=ctx, initializer=asgi_mpclean.worker_init
    )
    executor.submit(harm_work.sleep, 0).result()
    return _kept(executor)


def submit() -> None:
    """Submit jobs to an executor, as a scheduler does, and do not wait for them."""
    executor = _executor()
    _again_and_again(executor.submit, harm_work.sleep, 0)


def result() -> None:
    """Submit, and wait for each."""
    executor = _executor()
    _again_and_again(lambda: executor.submit(harm_work.sleep, 0).result())


def job_in_task() -> None:
    """Wait in a task for a job that takes long, as NiceGUI's `run.cpu_bound` does."""
    executor = _executor()

    async def run() -> None:
        await asyncio.get_running_loop().run_in_executor(executor, harm_work.sleep, 600)

    tasks.append(asyncio.get_running_loop().create_task(run()))


def apply() -> None:
    """Give jobs to a pool."""
    pool = _kept(ctx.Pool(1, initializer=asgi_mpclean.worker_init))
    pool.apply(harm_work.sleep, (0,))
    _again_and_again(pool.apply_async, harm_work.sleep, (0,))


def restart() -> None:
    """Start a worker anew when it has died, as supervisors do."""
    results = _kept(ctx.Queue())

    def make() -> Any:
        args: dict[str, Any] = {"target": harm_work.count, "args": (results, 0.05)}
        if REGISTERED:
            worker: Any = asgi_mpclean.Process(**args, ctx=ctx)
        else:
            worker = ctx.Process(**args, daemon="DAEMON" in os.environ)
        worker.start()
        return worker

    workers = [make(), make()]

    def look() -> None:
        for number, worker in enumerate(workers):
            if not worker.is_alive():
                workers[number] = make()

    _again_and_again(look)


async def case() -> AsyncIterator[None]:
    """Begin with them; nothing is done at the end."""
    for name in os.environ["CASE"].split():
        globals()[name]()
    await asyncio.sleep(0.3)  # Some go to and fro.
    yield


app = app_of(case)
