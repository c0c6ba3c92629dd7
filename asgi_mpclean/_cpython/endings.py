"""Ending a thread of the app that waits in a queue, once nothing needs it any more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from . import loaded
from .features import AVAILABLE, Feature
from .frames import frames_of_other_threads, is_inside, waits_for_threads

if TYPE_CHECKING:
    from types import FrameType

_threading: Any = threading


def end_thread(thread: threading.Thread) -> bool:
    """Have SystemExit raised in a thread as soon as its call of the system returns.

    A thread ends by it without a word. Not to be called in a clean-up, as it imports `ctypes`.

    Returns:
        False where that cannot be done.
    """
    try:
        import ctypes  # noqa: PLC0415 - few programs need it, and it costs a server's start

        raise_in: Any = ctypes.pythonapi.PyThreadState_SetAsyncExc
    except (ImportError, AttributeError):
        return False
    ident = ctypes.c_ulong(thread.ident or 0)
    return bool(raise_in(ident, ctypes.py_object(SystemExit)))


def threads_of_executors() -> set[int]:
    """Return the identifiers of the threads that work for somebody who waits for their results."""
    pools = loaded.thread_pools
    if not pools:
        return set()
    known = Feature.THREAD_POOLS in AVAILABLE
    work = pools._worker.__code__ if known else None
    return {
        ident for ident, frame in frames_of_other_threads() if not known or is_inside(frame, work)
    }


def is_borrowed(thread: threading.Thread) -> bool:
    """Tell whether a thread must not end: the main one, or anyio's, which a task waits for."""
    return thread is threading.main_thread() or type(thread).__module__.startswith("anyio.")


def threads_waited_for() -> set[int] | None:
    """Return the threads of the executors that are being shut down; None for all threads there are.

    Their futures have been cancelled, if they are those of an event loop. All are waited for when
    the main thread has ended.
    """
    if Feature.FRAMES not in AVAILABLE:
        return set()
    found: set[int] = set()
    known = loaded.thread_pools and Feature.THREAD_POOLS in AVAILABLE
    shutdown = loaded.thread_pools.ThreadPoolExecutor.shutdown.__code__ if known else None
    main = _threading.main_thread().ident
    frame: FrameType | None = None
    try:
        for ident, frame in frames_of_other_threads():
            if ident == main and waits_for_threads(frame):
                return None
            for outer in _outwards(frame):
                if outer.f_code is shutdown:
                    found |= {thread.ident for thread in list(outer.f_locals["self"]._threads)}
    finally:
        frame = outer = None  # See `frames_of_other_threads`.
    return found


def _outwards(frame: FrameType | None) -> Any:
    while frame is not None:
        yield frame
        frame = frame.f_back
