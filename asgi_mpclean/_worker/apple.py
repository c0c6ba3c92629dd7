"""What macOS tells of a process, as Linux does by `/proc`: by its libproc, which all programs have.

The structures and numbers are those of `sys/resource.h` and `sys/proc_info.h`. That library is
called here by `ctypes`, which only programs on macOS import for it, and not in a clean-up.
"""

from __future__ import annotations

import ctypes
from typing import Any

RUSAGE_INFO_V0 = 0
PROC_PIDTBSDINFO = 3
PROC_FLAG_EXEC = 0x4000
# The size of `struct proc_bsdinfo`, of which the first number are the flags.
BSDINFO_NUMBERS = 34
NANO = 1e-9


class _Usage(ctypes.Structure):
    """The `struct rusage_info_v0`; its times are in ticks of the machine."""

    _fields_ = (
        ("uuid", ctypes.c_uint8 * 16),
        ("user", ctypes.c_uint64),
        ("system", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 8),
    )


class _Timebase(ctypes.Structure):
    """The `struct mach_timebase_info`: how many nanoseconds a tick takes, as a fraction."""

    _fields_ = (("numerator", ctypes.c_uint32), ("denominator", ctypes.c_uint32))


def _library() -> Any:
    library: Any = ctypes.CDLL(None)
    number, pointer = ctypes.c_int, ctypes.c_void_p
    library.proc_pid_rusage.argtypes = [number, number, pointer]
    library.proc_pidinfo.argtypes = [number, number, ctypes.c_uint64, pointer, number]
    return library


def _seconds_of_tick() -> float:
    timebase = _Timebase()
    _LIBRARY.mach_timebase_info(ctypes.byref(timebase))
    return float(NANO * timebase.numerator / timebase.denominator)


_LIBRARY = _library()
_TICK_SECONDS = _seconds_of_tick()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, 0 if it is gone or somebody else's."""
    usage = _Usage()
    if _LIBRARY.proc_pid_rusage(pid, RUSAGE_INFO_V0, ctypes.byref(usage)):
        return 0.0
    return float((usage.user + usage.system) * _TICK_SECONDS)


def has_executed(pid: int) -> bool:
    """Tell whether a process has executed a program, rather than only been forked."""
    info = (ctypes.c_uint32 * BSDINFO_NUMBERS)()
    size = ctypes.sizeof(info)
    if _LIBRARY.proc_pidinfo(pid, PROC_PIDTBSDINFO, 0, info, size) < size:
        return True
    return bool(info[0] & PROC_FLAG_EXEC)
