"""`ProcessPoolExecutor` from inside: its workers, its jobs, and its end without waiting."""

from __future__ import annotations

import concurrent.futures.process
from typing import TYPE_CHECKING, Any

from .features import AVAILABLE, Feature

if TYPE_CHECKING:
    import threading

# How long (seconds) the lock of an executor may be held before its holder counts as dead.
LOCKED_SECONDS = 0.05


def live_executors() -> list[Any]:
    """Return the `ProcessPoolExecutor`s of this process that still have their manager thread."""
    wakeups = getattr(concurrent.futures.process, "_threads_wakeups", ())
    # In a forked child there are only the objects of the parent's.
    threads = [thread for thread in list(wakeups) if thread.is_alive()]
    executors = [getattr(thread, "executor_reference", lambda: None)() for thread in threads]
    return [executor for executor in executors if executor is not None]


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

    This is what its own `shutdown` does first. Its waiting is left out: if that is interrupted,
    Python up to 3.12 takes the thread that was waited for to have ended.

    Returns:
        The thread that ends when the executor has.
    """
    if Feature.EXECUTORS not in AVAILABLE:
        executor.shutdown(wait=False, cancel_futures=True)
        return None
    # The executor's own thread holds the lock only for a short look at its state.
    locked = executor._shutdown_lock.acquire(timeout=LOCKED_SECONDS)
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
