"""What only Windows has: pipes of whole messages, CTRL-C by console, CPU time by a handle.

Each function answers that it does not know, or does nothing, on any other system.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from .features import AVAILABLE, Feature

# The time (seconds) that 1 stands for in what Windows tells of CPU time.
CPU_TICK_SECONDS = 1e-7


def peek(handle: int) -> tuple[int, int] | None:
    """Return how many bytes a pipe has to read, and how many its first message has.

    Args:
        handle: That of the read end.

    Returns:
        None if nobody can write any more and nothing is left; zeros as well for what is no pipe.
    """
    if sys.platform == "win32" and Feature.MESSAGES in AVAILABLE:
        import _winapi  # noqa: PLC0415 - it is multiprocessing's

        try:
            found: Any = _winapi.PeekNamedPipe(handle)
        except BrokenPipeError:
            return None
        except OSError:  # It is a socket, or closed.
            return 0, 0
        return found[0], found[1]
    return 0, 0


def read_message(handle: int, size: int) -> bytes | None:
    """Read one message of a pipe without ever waiting for it.

    `recv_bytes` of the connection would wait for the next one, if another reader were quicker.

    Args:
        handle: That of the read end, opened for overlapped reads as multiprocessing does.
        size: How many bytes the message is expected to have.

    Returns:
        The message; None if somebody else has taken it.

    Raises:
        OSError: If there is nothing to read any more.
    """
    if sys.platform == "win32":
        import _winapi  # noqa: PLC0415 - it is multiprocessing's

        read, error = b"", _winapi.ERROR_MORE_DATA
        while error == _winapi.ERROR_MORE_DATA:
            transfer, error = _winapi.ReadFile(handle, size, overlapped=True)
            if error == _winapi.ERROR_IO_PENDING:
                transfer.cancel()
            _, error = transfer.GetOverlappedResult(True)  # noqa: FBT003 - by position only
            if error == _winapi.ERROR_OPERATION_ABORTED:
                return None
            read += transfer.getbuffer() or b""
            size = (peek(handle) or (0, 0))[1]
        return read
    return None


def maker_of_pipe(handle: int | None) -> int | None:
    """Return the id of the process that has made a pipe; None where that is not known.

    Whoever has a copy of an end, by `DuplicateHandle`, gets the same answer.
    """
    if sys.platform == "win32" and handle is not None:
        with contextlib.suppress(ImportError, AttributeError):
            import ctypes  # noqa: PLC0415 - only queues without a maker's mark need it

            pid = ctypes.c_ulong()
            ask: Any = ctypes.WinDLL("kernel32").GetNamedPipeServerProcessId
            if ask(ctypes.c_void_p(handle), ctypes.byref(pid)):
                return pid.value
    return None


def cpu_seconds_of(handle: int) -> float:
    """Return the CPU time that a process has used.

    Args:
        handle: That of the process, as its `sentinel` is.
    """
    if sys.platform == "win32":
        with contextlib.suppress(ImportError, AttributeError):
            import ctypes  # noqa: PLC0415 - only the wait for a worker needs it

            times = [ctypes.c_ulonglong() for _ in range(4)]
            ask: Any = ctypes.WinDLL("kernel32").GetProcessTimes
            # When it was created and has ended; then what it has used, in the kernel and outside.
            if ask(ctypes.c_void_p(handle), *map(ctypes.byref, times)):
                return (times[2].value + times[3].value) * CPU_TICK_SECONDS
    return 0.0


def ignore_ctrl_c() -> bool:
    """Have this process, and those that it creates from now on, ignore CTRL-C.

    Returns:
        False if that is so already, or cannot be done: there is nothing to be undone then.
    """
    if sys.platform == "win32":
        with contextlib.suppress(ImportError, AttributeError):
            return not _ctrl_c_is_ignored() and _set_ctrl_c_ignored(ignored=True)
    return False


def heed_ctrl_c() -> None:
    """Undo what `ignore_ctrl_c` has done; the processes created meanwhile go on ignoring it."""
    if sys.platform == "win32":
        _set_ctrl_c_ignored(ignored=False)


if sys.platform == "win32":

    def _set_ctrl_c_ignored(*, ignored: bool) -> bool:
        import ctypes  # noqa: PLC0415 - only the start of a worker needs it

        return bool(ctypes.WinDLL("kernel32").SetConsoleCtrlHandler(None, ignored))

    def _ctrl_c_is_ignored() -> bool:
        """Tell what `SetConsoleCtrlHandler(NULL)` was last called with, here or in an ancestor.

        No function of Windows tells. It is in the parameters of the process, the first fields of
        which have been the same in all versions: as phnt (`ntrtl.h`, `ntpebteb.h`) has them.
        """
        import ctypes  # noqa: PLC0415 - only the start of a worker needs it

        class Parameters(ctypes.Structure):
            _fields_ = (
                ("lengths_and_flags", ctypes.c_ulong * 4),
                ("console", ctypes.c_void_p),
                ("console_flags", ctypes.c_ulong),
            )

        class Environment(ctypes.Structure):
            _fields_ = (
                ("flags", ctypes.c_ubyte * 4),
                ("mutant", ctypes.c_void_p),
                ("image", ctypes.c_void_p),
                ("loader", ctypes.c_void_p),
                ("parameters", ctypes.POINTER(Parameters)),
            )

        find: Any = ctypes.WinDLL("ntdll").RtlGetCurrentPeb
        find.restype = ctypes.POINTER(Environment)
        return bool(find().contents.parameters.contents.console_flags & 1)
