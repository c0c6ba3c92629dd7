"""Ending one worker process: asked, waited for, terminated, killed; never joined without limit."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.children import is_child
from asgi_mpclean._cpython.semaphores import unlink_semaphores
from asgi_mpclean._worker import tree

from .base import STOP, Kind, is_unused

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgi_mpclean._report import ResourceReport

    from .base import Context, Entry

# A worker that is not asked to stop, and neither writes nor computes anything for this long
# (seconds), is waiting for work.
IDLE_SECONDS = 0.3
# Less CPU time (seconds) than this in that time is used by waiting alone.
BUSY_CPU_SECONDS = 0.03
# How long (seconds) to wait for the exit code of a process that is gone.
EXITCODE_SECONDS = 0.2
# The exit code that Python reports for each worker of a fork server that has died.
FORK_SERVER_DIED = 255
# At which part of the allowed time each step of the escalation comes.
IDLE_LIMIT = 0.4
TERMINATE_AT = 0.7
KILL_AT = 0.85

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps named semaphores


class WorkerCloser:
    """Takes one process through a clean-up.

    Args:
        process: A `multiprocessing.Process` of any context.
        report: What is written into.
        stop: Asks the worker to end, if it can be asked.
    """

    def __init__(
        self, process: Any, report: ResourceReport, stop: Callable[[], object] | None
    ) -> None:
        self.process = process
        self.report = report
        self.stop = stop
        self.asked = False
        self.pid: int | None = None
        self._signalled = ""
        self._gone_since: float | None = None
        self._busy_at = 0.0
        self._cpu_seconds = 0.0
        self._semaphores: dict[str, int] = {}
        self._descendants: set[tree.Identity] = set()
        self._orphans_asked = False
        self._outlives: set[tree.Identity] = set()
        try:
            self.pid = process.pid
            if not is_child(process):
                self.report.outcome = "not a child of this process"
            elif self.pid is None:
                self.report.outcome = "not started"
            else:
                self._outlives = tree.of_fork_server(self.pid)
        except ValueError:
            self.report.outcome = "already closed"

    def check_end(self) -> bool:
        """Tell whether the process is gone, whoever reaped it; if so, report how it ended."""
        if self.report.outcome:
            return True
        exitcode = self.process.exitcode
        if exitcode is None and not self._is_gone():
            return False
        if exitcode == FORK_SERVER_DIED and tree.living(self._outlives):
            return False
        if self._signalled and not self._have_ended_too():
            return False
        self.report.exitcode = exitcode
        self.report.outcome = self._signalled or "joined"
        self.report.semaphores += unlink_leftovers(self._semaphores)
        return True

    def _have_ended_too(self) -> bool:
        """Tell whether the processes have ended that a signalled worker has left behind."""
        self._descendants = tree.living(self._descendants)
        if self._descendants and self._signalled == "terminated" and not self._orphans_asked:
            self._orphans_asked = True
            tree.send(self._descendants, signal.SIGTERM)
        return not self._descendants

    def _is_gone(self) -> bool:
        """Tell whether the process is gone, and its exit code will not be known."""
        if _exists(self.pid):
            return False
        # The fork server reaps its children first, and sends us their exit code then.
        self._gone_since = self._gone_since or time.monotonic()
        return time.monotonic() - self._gone_since >= EXITCODE_SECONDS

    @property
    def sentinel(self) -> int | None:
        """The handle that becomes ready when the process ends; none if it has ended."""
        with contextlib.suppress(ValueError):
            return int(self.process.sentinel) if self.process.exitcode is None else None
        return None

    def escalate(self, start: float, last_output: float, timeout: float) -> None:
        """Signal the process if it is time to.

        Args:
            start: `time.monotonic()` at the start of the clean-up.
            last_output: `time.monotonic()` when a worker last wrote something.
            timeout: Seconds that the clean-up is allowed to take.
        """
        now = time.monotonic()
        terminate_at = start + TERMINATE_AT * timeout
        if not self.asked:
            last_busy = max(last_output, self._last_computing(now) if self._is_awaited() else 0.0)
            terminate_at = min(last_busy + IDLE_SECONDS, start + IDLE_LIMIT * timeout)
        if not self._signalled and now >= terminate_at:
            self.terminate()
        elif self._signalled == "terminated" and now >= start + KILL_AT * timeout:
            self.kill()

    def _is_awaited(self) -> bool:
        """Tell whether it may finish a computation; Python itself terminates daemons at once."""
        return self.report.registered or not self.process.daemon

    def _last_computing(self, now: float) -> float:
        used = cpu_seconds(self.pid)
        if used - self._cpu_seconds >= BUSY_CPU_SECONDS:
            self._cpu_seconds, self._busy_at = used, now
        return self._busy_at

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._signal("terminated", self.process.terminate, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process, and to the processes that it has started."""
        self._signal("killed", self.process.kill, signal.SIGKILL)
        tree.send(self._descendants, signal.SIGKILL)

    def _signal(self, word: str, send: Callable[[], None], signum: int) -> None:
        # Noted before, as a process that dies by a signal leaves behind what it made.
        self._semaphores |= semaphores_of_process(self.pid)
        self._descendants |= tree.descendants(self.pid)
        self._signalled = word
        with contextlib.suppress(OSError, ValueError):
            if self.process.exitcode == FORK_SERVER_DIED:
                tree.send(self._outlives, signum)
            else:
                send()

    def give_up(self) -> None:
        """Kill a process that has not ended in time: Python would wait for it for ever."""
        if self.check_end():
            return
        self.kill()
        self.process.join(EXITCODE_SECONDS)
        if not self.check_end():
            self.report.outcome = "still running"


def _exists(pid: int | None) -> bool:
    if pid is None or sys.platform == "win32":  # There, os.kill(pid, 0) ends the process.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # It exists, and belongs to another user.
    return True


def cpu_seconds(pid: int | None) -> float:
    """Return the CPU time that a process has used, on Linux; elsewhere 0."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def semaphores_of_process(pid: int | None) -> dict[str, int]:
    """Return the named semaphores of a worker that are not ours as well, each with its inode.

    A process that dies by a signal does not unlink what it made. On Linux a mapped semaphore is
    known by its inode only: glibc creates it under a temporary name.
    """
    inodes = _mapped_inodes(pid) - _mapped_inodes(os.getpid())
    if not inodes:
        return {}
    found = {}
    with contextlib.suppress(OSError):
        for entry in os.scandir(SHARED_MEMORY):
            if entry.name.startswith("sem.") and entry.inode() in inodes:
                found["/" + entry.name.removeprefix("sem.")] = entry.inode()
    return found


def _mapped_inodes(pid: int | None) -> set[int]:
    inodes = set()
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if f"{SHARED_MEMORY}/" in line:
                inodes.add(int(line.split()[4]))
    return inodes


def unlink_leftovers(semaphores: dict[str, int]) -> int:
    """Unlink those semaphores of a dead process that are still there; returns how many."""
    left = []
    for name, inode in semaphores.items():
        with contextlib.suppress(OSError):
            if (SHARED_MEMORY / f"sem.{name[1:]}").stat().st_ino == inode:
                left.append(name)
    return unlink_semaphores(left)


def _make(entry: Entry, report: ResourceReport, _context: Context) -> WorkerCloser:
    return WorkerCloser(entry.resource, report, entry.stop)


def _is_spent(entry: Entry) -> bool:
    try:
        pid, exitcode = entry.resource.pid, entry.resource.exitcode
    except ValueError:  # It has been closed.
        return True
    return exitcode is not None or (pid is None and is_unused(entry))


PROCESS = Kind(
    "process",
    ("multiprocessing.process.BaseProcess",),
    _make,
    options=STOP,
    is_spent=_is_spent,
)
