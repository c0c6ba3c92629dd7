"""`ProcessPoolExecutor` from inside: its workers, its jobs, and its end without waiting."""

from __future__ import annotations

import concurrent.futures.process
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any

from .features import AVAILABLE, Feature
from .frames import frames_of_other_threads, is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# How long (seconds) the lock of an executor may be held before its holder counts as dead.
LOCKED_SECONDS = 0.05


def live_executors() -> list[Any]:
    """Return the `ProcessPoolExecutor`s of this process that still have their manager thread."""
    wakeups = getattr(concurrent.futures.process, "_threads_wakeups", ())
    # In a forked child there are only the objects of the parent's.
    threads = [thread for thread in list(wakeups) if thread.is_alive()]
    executors = [getattr(thread, "executor_reference", lambda: None)() for thread in threads]
    return [executor for executor in executors if executor is not None]


def is_executor_starting() -> bool:
    """Tell whether another thread gives a `ProcessPoolExecutor` a job: it may be the first one.

    Its first worker is started before its own thread, by which it is found.
    """
    submit: Any = concurrent.futures.process.ProcessPoolExecutor.submit
    code = getattr(submit, "__code__", None)
    return any(is_inside(frame, code) for _, frame in frames_of_other_threads())


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


def files_of_callbacks(future: concurrent.futures.Future[Any]) -> list[str]:
    """Return where the functions are defined that are called when a job is done."""
    callbacks = getattr(future, "_done_callbacks", ())
    codes = [getattr(callback, "__code__", None) for callback in callbacks]
    return [code.co_filename for code in codes if code is not None]


def executor_calls(executor: Any) -> Any | None:
    """Return the queue from which the workers of a `ProcessPoolExecutor` take their jobs."""
    return executor._call_queue if Feature.EXECUTORS in AVAILABLE else None


def begin_executor_shutdown(
    executor: Any, forget: Callable[[concurrent.futures.Future[Any]], bool] | None = None
) -> threading.Thread | None:
    """Have a `ProcessPoolExecutor` cancel what it has not begun, without waiting for the rest.

    This is what its own `shutdown` does first. Its waiting is left out: if that is interrupted,
    Python up to 3.12 takes the thread that was waited for to have ended.

    Args:
        executor: The executor.
        forget: Tells of a job that has not begun whether nobody is to hear that it is cancelled.

    Returns:
        The thread that ends when the executor has.
    """
    if Feature.EXECUTORS not in AVAILABLE:
        executor.shutdown(wait=False, cancel_futures=True)
        return None
    # The executor's own thread holds the lock only for a short look at its state.
    locked = executor._shutdown_lock.acquire(timeout=LOCKED_SECONDS)
    if forget is not None:
        _forget_jobs(executor, forget)
    executor._cancel_pending_futures = executor._shutdown_thread = True
    if executor._executor_manager_thread_wakeup is not None:
        executor._executor_manager_thread_wakeup.wakeup()
    if locked:
        executor._shutdown_lock.release()
    thread: threading.Thread | None = executor._executor_manager_thread
    return thread


def _forget_jobs(executor: Any, which: Callable[[concurrent.futures.Future[Any]], bool]) -> None:
    """Drop jobs that no worker of a `ProcessPoolExecutor` has been given, and tell nobody.

    Its thread looks up a job by the number that it takes from a queue: who has taken that is the
    only one to do so.
    """
    kept = []
    with contextlib.suppress(queue.Empty):
        while True:
            number = executor._work_ids.get_nowait()
            work = executor._pending_work_items.get(number)
            if work is not None and which(work.future):
                del executor._pending_work_items[number]
            else:
                kept.append(number)
    for number in kept:
        executor._work_ids.put(number)


def freeze_executor(executor: Any) -> None:
    """Have a `ProcessPoolExecutor` say nothing when its workers die: it is not broken, but over.

    It takes jobs as before, and never does them. Its own thread ends with the workers.
    """
    if Feature.EXECUTORS not in AVAILABLE:
        return
    thread = executor._executor_manager_thread
    for name in ("terminate_broken", "_terminate_broken"):  # Up to 3.13 it has the underscore.
        if hasattr(thread, name):
            setattr(thread, name, _do_nothing)


def _do_nothing(*_args: object) -> None:
    pass


def withdraw_jobs(executor: Any) -> None:
    """Keep the jobs that no worker of a `ProcessPoolExecutor` has been given from being begun."""
    if Feature.EXECUTORS not in AVAILABLE:
        return
    with contextlib.suppress(queue.Empty):
        while True:
            executor._work_ids.get_nowait()


def cancel_jobs(futures: Iterable[concurrent.futures.Future[Any]]) -> None:
    """Cancel jobs, running or not, whose executor does not answer any more."""
    for future in futures:
        with future._condition:
            if future._state == "RUNNING":
                future._state = "PENDING"
        if future.cancel():
            future.set_running_or_notify_cancel()


def let_executor_answer(executor: Any, seconds: float) -> None:
    """Wait until the thread of a `ProcessPoolExecutor` has passed on the results that have come.

    To set one of a job that has been cancelled meanwhile ends that thread with a traceback.

    Args:
        executor: The executor, whose workers have ended.
        seconds: How long to wait: a worker may have died in the middle of a result.
    """
    if Feature.EXECUTORS in AVAILABLE:
        thread: threading.Thread | None = executor._executor_manager_thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)


def executor_outcome(executor: Any) -> str:
    """Return what has become of a `ProcessPoolExecutor` already; nothing while it is in use."""
    if Feature.EXECUTORS not in AVAILABLE:
        return ""
    if executor._broken:
        return "already broken"
    return "already closed" if executor._shutdown_thread else ""


def executor_has_ended(executor: Any) -> bool:
    """Tell whether a `ProcessPoolExecutor` has been shut down, or is broken, and nothing is left.

    Its thread ends last.
    """
    if not executor_outcome(executor):
        return False
    thread = executor._executor_manager_thread
    return thread is None or not thread.is_alive()


def executor_is_idle(executor: Any) -> bool:
    """Tell whether a `ProcessPoolExecutor` has no job; False where that cannot be told."""
    return Feature.EXECUTORS in AVAILABLE and not executor._pending_work_items
