"""The CPU time of another process, which tells whether it computes or waits for work."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

if sys.platform == "darwin":  # Now, as a clean-up is no time for it.
    from . import apple

# The clock of another process is numbered by its pid; `clock_getcpuclockid(3)` of Linux returns so.
CLOCK_BITS, CLOCK_OF_PROCESS = 3, 2


def busy_seconds(pid: int | None) -> float:
    """Return how long a process has computed or wanted to, 0 where that is not known.

    On a busy machine, a process whose turn does not come is not one that waits for work. How long
    its main thread has waited for its turn is known on Linux with `/proc` (`schedstat`, see
    `Documentation/scheduler/sched-stats.rst` of the kernel).
    """
    waited = 0.0
    if pid is not None and sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError, IndexError):
            schedstat = Path(f"/proc/{pid}/schedstat").read_text()
            waited = int(schedstat.split()[1]) / 1e9  # nanoseconds
    return cpu_seconds(pid) + waited


def cpu_seconds(pid: int | None) -> float:
    """Return the CPU time that a process has used, 0 where that is not known.

    It is known on Linux, with and without `/proc`, and on macOS. Elsewhere a worker that computes
    cannot be told from one that waits for work, and is terminated as early.
    """
    if pid is None or pid < 1:  # The numbers below stand for this process.
        return 0.0
    if sys.platform == "darwin":
        return apple.cpu_seconds(pid)
    if sys.platform == "linux":  # Exact, where `/proc` rounds down to hundredths twice.
        with contextlib.suppress(OSError):
            return time.clock_gettime(~pid << CLOCK_BITS | CLOCK_OF_PROCESS)
    if sys.platform != "win32":
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
