"""`Pool` and `ThreadPool` from inside: their workers, and the jobs that these have not begun."""

from __future__ import annotations

import contextlib
import pickletools
import queue
from typing import TYPE_CHECKING, Any

from . import loaded
from .features import AVAILABLE, Feature

if TYPE_CHECKING:
    from collections.abc import Iterable

# How long (seconds) a lock inside a pool may be held before its holder counts as dead.
LOCKED_SECONDS = 0.05


def is_thread_pool(pool: Any) -> bool:
    """Tell whether the workers of `pool` are threads."""
    return isinstance(pool, loaded.pools.ThreadPool)


def pool_is_transparent() -> bool:
    """Tell whether the jobs and the workers of a pool can be seen in this Python."""
    return Feature.POOLS in AVAILABLE


def pool_processes(pool: Any) -> list[Any]:
    """Return the worker processes of a `Pool`; a `ThreadPool` has none."""
    if Feature.POOLS not in AVAILABLE or is_thread_pool(pool):
        return []
    return list(pool._pool)


def pool_is_terminated(pool: Any) -> bool:
    """Tell whether the app has terminated `pool` itself."""
    return Feature.POOLS in AVAILABLE and not pool._terminate.still_active()


def pool_is_busy(pool: Any) -> bool:
    """Tell whether `pool` may have jobs, and start another worker for them."""
    return Feature.POOLS in AVAILABLE and bool(pool._worker_handler.is_alive())


def pool_jobs(pool: Any) -> Any:
    """Return the queue from which the workers of a `Pool` take their jobs."""
    return pool._inqueue


def take_thread_jobs(pool: Any) -> list[Any]:
    """Take the jobs that the threads of a `ThreadPool` have not begun."""
    jobs = []
    with contextlib.suppress(queue.Empty):
        while True:
            jobs.append(pool._inqueue.get_nowait())
    return jobs


def job_of(task: bytes | tuple[Any, ...]) -> tuple[int, int]:
    """Return the job, and the part of it, that a pickled or unpickled task of a pool is.

    A task is `(job, part, function, args, kwargs)`; unpickling it would run the app's code.
    """
    if isinstance(task, tuple):
        return task[0], task[1]
    numbers = (int(arg or 0) for opcode, arg, _ in pickletools.genops(task) if "INT" in opcode.name)
    return next(numbers), next(numbers)


def fail_jobs(pool: Any, jobs: Iterable[tuple[int, int]], error: Exception) -> None:
    """Let jobs that no worker has begun raise `error` where their results are waited for.

    They go the way of all results, so that only the pool's own thread touches them; it may be busy
    in a callback of the app, and this may block.
    """
    for job, part in jobs:
        pool._outqueue.put((job, part, (False, error)))


def end_pool_worker(pool: Any) -> None:
    """Give one worker of `pool` the sentinel that ends it."""
    pool._inqueue.put(None)


def free_pool(pool: Any) -> None:
    """Free the threads of `pool` from the locks that its workers, all dead, have left behind."""
    if Feature.POOLS in AVAILABLE and not is_thread_pool(pool):
        for lock in (pool._inqueue._rlock, pool._outqueue._wlock):
            # A live thread of the pool holds the lock only while it reads or writes one message.
            lock.acquire(timeout=LOCKED_SECONDS)
            with contextlib.suppress(ValueError):
                lock.release()
