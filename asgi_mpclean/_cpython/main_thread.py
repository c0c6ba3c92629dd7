"""The main thread: the only one in which Python handles signals."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from typing import Any


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
    try:
        _thread.start_new_thread(_send_after, (signum, seconds))
    except RuntimeError:
        return False
    return True


def _send_after(signum: int, seconds: float) -> None:
    time.sleep(seconds)
    # To the main thread itself, which may be waiting in a system call.
    if sys.platform == "win32":
        signal.raise_signal(signum)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signum)
