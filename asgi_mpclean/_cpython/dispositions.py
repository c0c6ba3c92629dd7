"""What happens to a signal: as `signal.getsignal` tells, and as the system does where that errs."""

from __future__ import annotations

import signal
import sys
from typing import Any

# What `sigaction` writes is smaller on each system, and begins with the handler.
SIGACTION_BYTES = 256


def found_handler(signum: int) -> Any:
    """Return what `signal.getsignal` does, and SIG_IGN also where only the system knows of it.

    PyPy takes each signal for SIG_DFL that it has not set itself, also one that was ignored when it
    was started, as `nohup` does with SIGHUP.
    """
    handler = signal.getsignal(signum)
    if sys.implementation.name == "cpython" or handler != signal.SIG_DFL:
        return handler
    return signal.SIG_IGN if _is_ignored(signum) else handler


def _is_ignored(signum: int) -> bool:
    import ctypes  # noqa: PLC0415 - CPython does not need it

    try:
        sigaction = ctypes.CDLL(None).sigaction
    except (AttributeError, OSError, TypeError):  # Windows, where none is ignored from outside.
        return False
    action = ctypes.create_string_buffer(SIGACTION_BYTES)
    if sigaction(signum, None, action):
        return False
    return ctypes.c_void_p.from_buffer(action).value == int(signal.SIG_IGN)
