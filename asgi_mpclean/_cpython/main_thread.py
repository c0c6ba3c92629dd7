"""The main thread: the only one in which Python handles signals."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NANOSECONDS = 1_000_000_000
# A `sigevent` has 64 bytes; what is left of it once a timer knows its signal.
SIGEVENT_REST_BYTES = 48


def in_main_thread() -> bool:
    """Tell whether this is the thread that can handle signals.

    The main thread of a sub-interpreter is none; Python says so before it looks at the handler.
    """
    if _thread.get_ident() != threading.main_thread().ident:
        return False
    no_handler: Any = None
    try:
        signal.signal(signal.SIGINT, no_handler)
    except ValueError:
        return False
    except TypeError:
        return True
    return True  # pragma: no cover - Python takes no such handler


def send_soon(signum: int, seconds: float) -> bool:
    """Send a signal to the main thread in a moment.

    Args:
        signum: The signal.
        seconds: How long to wait.

    Returns:
        Whether it will be sent: no thread can be started where there are too many, or where the
        interpreter is ending.
    """
    return _begin(_send_after, signum, seconds)


def keep_sending(signum: int, seconds: float) -> bool:
    """Send a signal to the main thread again and again, until this process has ended.

    One that comes just before the main thread waits for a lock is not heard: the handler runs when
    the wait is over.

    Args:
        signum: The signal.
        seconds: How long to wait before each.

    Returns:
        Whether it will be sent; see `send_soon`.
    """
    return _begin(_send_every, signum, seconds)


def send_after_fork(signum: int, seconds: float) -> bool:
    """Send a signal in a moment to this process, which is just being forked.

    PyPy crashes where a thread begins before it has set itself up in the child: there a timer of
    the system sends it, which Linux has.

    Args:
        signum: The signal.
        seconds: How long to wait.

    Returns:
        Whether it will be sent.
    """
    if sys.implementation.name != "pypy":
        return send_soon(signum, seconds)
    return _set_timer(signum, seconds)


def _set_timer(signum: int, seconds: float) -> bool:
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415 - CPython does not need it

    class Event(ctypes.Structure):
        """What a timer does: a `sigevent`, which says to send a signal where `how` is 0."""

        _fields_ = (
            ("value", ctypes.c_void_p),
            ("signum", ctypes.c_int),
            ("how", ctypes.c_int),
            ("rest", ctypes.c_char * SIGEVENT_REST_BYTES),
        )

    system, timer = ctypes.CDLL(None), ctypes.c_void_p()
    whole, nanoseconds = divmod(int(seconds * NANOSECONDS), NANOSECONDS)
    once = (ctypes.c_long * 4)(0, 0, whole, nanoseconds)  # How often, then when.
    try:
        event = ctypes.byref(Event(None, signum, 0))
        failed = system.timer_create(time.CLOCK_MONOTONIC, event, ctypes.byref(timer))
        failed = failed or system.timer_settime(timer, 0, once, None)
    except AttributeError:  # A C library that has them elsewhere, as glibc did before 2.34.
        return False
    return not failed


def _begin(send: Callable[[int, float], None], signum: int, seconds: float) -> bool:
    try:
        _thread.start_new_thread(send, (signum, seconds))
    except RuntimeError:
        return False
    return True


def _send_every(signum: int, seconds: float) -> None:
    while True:
        _send_after(signum, seconds)


def _send_after(signum: int, seconds: float) -> None:
    time.sleep(seconds)
    # To the main thread itself, which may be waiting in a system call.
    if sys.platform == "win32":
        signal.raise_signal(signum)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signum)
