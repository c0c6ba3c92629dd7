"""`Pool` and `ThreadPool` from inside: their workers, and the jobs that these have not begun.

`multiprocess`, which is multiprocessing with dill, has both as well, with the same names inside.
"""

from __future__ import annotations

import contextlib
import pickletools
import queue
from typing import TYPE_CHECKING, Any

from . import loaded
from .features import AVAILABLE, Feature

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

# How long (seconds) a lock inside a pool may be held before its holder counts as dead.
LOCKED_SECONDS = 0.05
_MODULES = loaded.pools, loaded.dill_pools


def pool_classes(name: str) -> tuple[Any, ...]:
    """Return a class that pools need, of each module of pools that is loaded."""
    return tuple(getattr(module, name) for module in _MODULES if module)


def is_pool(thing: Any) -> bool:
    """Tell whether something is a `Pool` or a `ThreadPool`."""
    return isinstance(thing, pool_classes("Pool"))


def is_pool_of_dill(thing: Any) -> bool:
    """Tell whether something is a pool of `multiprocess`."""
    return bool(loaded.dill_pools) and isinstance(thing, loaded.dill_pools.Pool)


def _states(pool: Any) -> Any:
    """Return the module that has the names of the states of `pool`."""
    return loaded.dill_pools if is_pool_of_dill(pool) else loaded.pools


def is_thread_pool(pool: Any) -> bool:
    """Tell whether the workers of `pool` are threads."""
    return isinstance(pool, pool_classes("ThreadPool"))


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


def pool_is_being_terminated(pool: Any) -> bool:
    """Tell whether the app has begun to terminate `pool`, which may not have got on with it.

    Another thread may be there just now, or CTRL-C has left it there.
    """
    return Feature.POOLS in AVAILABLE and bool(pool._state == _states(pool).TERMINATE)


def pool_is_busy(pool: Any) -> bool:
    """Tell whether `pool` may have jobs, and start another worker for them."""
    return Feature.POOLS in AVAILABLE and bool(pool._worker_handler.is_alive())


def pool_has_ended(pool: Any) -> bool:
    """Tell whether `pool` has been closed or terminated, and its threads have ended."""
    if Feature.POOLS not in AVAILABLE or pool._state == _states(pool).RUN:
        return False
    threads = (pool._worker_handler, pool._task_handler, pool._result_handler)
    return not any(thread.is_alive() for thread in threads)


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


def pool_of_result(result: Any) -> Any | None:
    """Return the pool that a result of `map_async` or `imap` is waited for from; None for else."""
    if Feature.RESULTS not in AVAILABLE:
        return None
    classes = pool_classes("ApplyResult") + pool_classes("IMapIterator")
    return result._pool if isinstance(result, classes) else None


def keep_pool_from_starting(pool: Any) -> None:
    """Have `pool` start no more workers in the place of those that end."""
    if Feature.POOLS in AVAILABLE:
        pool._worker_handler._state = _states(pool).TERMINATE


def stop_pool(pool: Any) -> None:
    """Have `pool` end its workers after the jobs there are, without telling who gives it more.

    It takes those as before, and never does them.
    """
    keep_pool_from_starting(pool)
    pool._change_notifier.put(None)


def forget_pool(pool: Any) -> None:
    """Spare the exit of the interpreter the end of `pool`, whose workers have ended."""
    if Feature.POOLS in AVAILABLE:
        pool._terminate.cancel()


def has_working_threads(pool: Any) -> bool:
    """Tell whether `pool` is one of threads, and not all of them have ended."""
    return is_thread_pool(pool) and any(thread.is_alive() for thread in pool._pool)


def jobs_of(pool: Any, results: Iterable[Any]) -> set[int]:
    """Return the numbers of those jobs of `pool` that have one of these results."""
    return {result._job for result in results if pool_of_result(result) is pool}


def answer_results(pool: Any, error: Exception, *, but: Container[int] = ()) -> None:
    """Let every result of `pool` that has not come raise `error` where it is waited for.

    Its workers are dead and its threads have ended, so that nobody else answers any more. It calls
    the app's own callbacks.

    Args:
        pool: A `Pool` or a `ThreadPool`.
        error: What is raised.
        but: The jobs that get no answer.
    """
    if Feature.RESULTS not in AVAILABLE:
        return
    for result in [r for r in pool._cache.copy().values() if r._job not in but]:
        if hasattr(result, "_unsorted"):
            result._set(result._index, (False, error))
            result._set_length(result._index + 1)
        else:
            for _ in range(getattr(result, "_number_left", 1)):
                result._set(0, (False, error))


def end_pool_worker(pool: Any) -> None:
    """Give one worker of `pool` the sentinel that ends it."""
    pool._inqueue.put(None)


def free_pool(pool: Any, is_abandoned: Callable[[Any], bool]) -> None:
    """Free the threads of `pool` from the locks that its workers, all dead, have left behind.

    Args:
        pool: A `Pool` or a `ThreadPool`.
        is_abandoned: Tells whether no other process has one of its queues: a worker may have had
            children, which have it and live.
    """
    if Feature.POOLS in AVAILABLE and not is_thread_pool(pool):
        for queue, lock in (
            (pool._inqueue, pool._inqueue._rlock),
            (pool._outqueue, pool._outqueue._wlock),
        ):
            # A thread of the pool holds it for no longer than one message takes.
            if lock is None:  # On Windows, where a message is written in one piece.
                continue
            if lock.acquire(timeout=LOCKED_SECONDS) or is_abandoned(queue):
                with contextlib.suppress(ValueError):
                    lock.release()
