"""Pools, executors and managers from inside: what runs in them, and what they have not begun."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import contextlib
import multiprocessing.pool
import multiprocessing.util
import os
import pickletools
import queue
import threading
from typing import TYPE_CHECKING, Any

from .features import AVAILABLE, Feature
from .frames import frames_of_other_threads
from .processes import is_child

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

_util: Any = multiprocessing.util

_TERMINATE: Any = multiprocessing.pool.Pool.terminate

# How long (seconds) a lock inside a pool may be held before its holder counts as dead.
LOCKED = 0.05


def pools_and_managers() -> list[Any]:
    """Return each live `Pool`, `ThreadPool` and manager that was started in this process."""
    if Feature.SEMAPHORES not in AVAILABLE:
        return []
    found, pid = [], os.getpid()
    for finalizer in list(_util._finalizer_registry.values()):
        name = getattr(finalizer._callback, "__name__", "")
        if name in {"_terminate_pool", "_finalize_manager"} and finalizer._pid == pid:
            found.append(finalizer._weakref())
    return [thing for thing in found if thing is not None] + _pools_in_terminate()


def _pools_in_terminate() -> list[Any]:
    """Return each `Pool` that another thread is terminating, which has no finalizer any more."""
    found = []
    for _, innermost in frames_of_other_threads():
        frame: FrameType | None = innermost
        while frame is not None:
            if frame.f_code is _TERMINATE.__code__:
                found.append(frame.f_locals["self"])
            frame = frame.f_back
    return found


def live_executors() -> list[Any]:
    """Return the `ProcessPoolExecutor`s of this process that still have their manager thread."""
    wakeups = getattr(concurrent.futures.process, "_threads_wakeups", ())
    # In a forked child there are only the objects of the parent's.
    threads = [thread for thread in list(wakeups) if thread.is_alive()]
    executors = [getattr(thread, "executor_reference", lambda: None)() for thread in threads]
    return [executor for executor in executors if executor is not None]


def is_waited_for() -> bool:
    """Tell whether Python waits at its exit for threads that are not those of executors."""
    managers = set(getattr(concurrent.futures.process, "_threads_wakeups", ()))
    return any(
        not thread.daemon and thread not in managers
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    )


def started_elsewhere(resource: Any) -> bool:
    """Tell whether the processes of a pool, executor or manager are not ours to wait for."""
    if Feature.CHILDREN not in AVAILABLE:
        return False
    return not all(is_child(process) for process in _processes(resource))


def _processes(resource: Any) -> list[Any]:
    if isinstance(resource, multiprocessing.pool.Pool):
        return pool_processes(resource)
    if isinstance(resource, concurrent.futures.ProcessPoolExecutor):
        return list(executor_processes(resource).values())
    process = manager_process(resource)
    return [] if process is None else [process]


def pool_is_transparent() -> bool:
    """Tell whether the jobs and the workers of a pool can be seen in this Python."""
    return Feature.POOLS in AVAILABLE


def pool_processes(pool: Any) -> list[Any]:
    """Return the worker processes of a `Pool`; a `ThreadPool` has none."""
    if Feature.POOLS not in AVAILABLE or isinstance(pool, multiprocessing.pool.ThreadPool):
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
    if Feature.POOLS in AVAILABLE and not isinstance(pool, multiprocessing.pool.ThreadPool):
        for lock in (pool._inqueue._rlock, pool._outqueue._wlock):
            # A thread of the pool holds it for no longer than one message takes.
            lock.acquire(timeout=LOCKED)
            with contextlib.suppress(ValueError):
                lock.release()


def executor_processes(executor: Any) -> dict[int, Any]:
    """Return the worker processes of a `ProcessPoolExecutor`, kept up to date by itself."""
    if Feature.EXECUTORS not in AVAILABLE:
        return {}
    return executor._processes or {}


def executor_futures(executor: Any) -> list[concurrent.futures.Future[Any]]:
    """Return the futures of a `ProcessPoolExecutor` that are not done."""
    if Feature.EXECUTORS not in AVAILABLE:
        return []
    return [work.future for work in list(executor._pending_work_items.copy().values())]


def executor_calls(executor: Any) -> Any | None:
    """Return the queue from which the workers of a `ProcessPoolExecutor` take their jobs."""
    return executor._call_queue if Feature.EXECUTORS in AVAILABLE else None


def begin_executor_shutdown(executor: Any) -> threading.Thread | None:
    """Have a `ProcessPoolExecutor` cancel what it has not begun, without waiting for the rest.

    What its own `shutdown` does first; the waiting cannot be interrupted: up to Python 3.12, the
    interpreter would take the thread that was waited for to have ended.

    Returns:
        The thread that ends when the executor has.
    """
    if Feature.EXECUTORS not in AVAILABLE:
        executor.shutdown(wait=False, cancel_futures=True)
        return None
    # Its own thread holds the lock while it does no more than look around.
    locked = executor._shutdown_lock.acquire(timeout=LOCKED)
    executor._cancel_pending_futures = executor._shutdown_thread = True
    if executor._executor_manager_thread_wakeup is not None:
        executor._executor_manager_thread_wakeup.wakeup()
    if locked:
        executor._shutdown_lock.release()
    thread: threading.Thread | None = executor._executor_manager_thread
    return thread


def executor_outcome(executor: Any) -> str:
    """Return what has become of a `ProcessPoolExecutor` already; nothing while it is in use."""
    if Feature.EXECUTORS not in AVAILABLE:
        return ""
    if executor._broken:
        return "already broken"
    return "already closed" if executor._shutdown_thread else ""


def manager_process(manager: Any) -> Any | None:
    """Return the server process of a manager, None if it was not started here."""
    return getattr(manager, "_process", None) if Feature.MANAGERS in AVAILABLE else None
