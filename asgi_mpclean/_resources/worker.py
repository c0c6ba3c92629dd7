"""Ending one worker process: asked, waited for, terminated, killed; never joined without limit."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.children import is_child
from asgi_mpclean._cpython.windows import cpu_seconds_of
from asgi_mpclean._worker import handle, look, tree
from asgi_mpclean._worker.cpu import busy_seconds
from asgi_mpclean._worker.handle import KILL
from asgi_mpclean._worker.semaphores import made_by, unlink_leftovers

from .base import STOP, Kind

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
# The last part of it is kept for reading, closing and unlinking.
WORKERS_UNTIL = 0.92
# How long (seconds) those whom a dead worker leaves behind may take to end by themselves: some
# clean up when their client is gone.
LEFT_ALONE_SECONDS = 0.5
# How often (seconds) one looks whether those have ended that were killed at last.
KILLED_LOOK_SECONDS = 0.005
# Who is told to end may start somebody before it does: so long (seconds) one looks so often.
LATE_SECONDS = 0.1
LATE_LOOK_SECONDS = 0.002


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
        self._terminated_at = 0.0
        self._told_at = 0.0
        self._ended_at: float | None = None
        # Those whom a worker leaves behind that dies by a signal, and the last one they were sent.
        self._left_behind: dict[tree.Identity, None] = {}
        self._ending = 0
        self._outlives: dict[tree.Identity, None] = {}
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
        self._ended_at = self._ended_at or time.monotonic()
        self._left_behind = tree.living(self._left_behind)
        if self._left_behind:
            return False
        self.report.exitcode = exitcode
        self.report.outcome = self._signalled or "joined"
        self.report.semaphores += unlink_leftovers(self._semaphores)
        return True

    def _is_gone(self) -> bool:
        """Tell whether there is no such process, and nobody who will tell how it ended."""
        if handle.is_there(self.process):
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

    def look_again_after(self, now: float, seconds: float) -> float:
        """Return after how many seconds one should look again, at most `seconds`."""
        if self._left_behind and now < self._told_at + LATE_SECONDS:
            return min(seconds, LATE_LOOK_SECONDS)
        return seconds

    def escalate(self, start: float, last_output: float, timeout: float) -> None:
        """Signal the process if it is time to.

        Args:
            start: `time.monotonic()` at the start of the clean-up.
            last_output: `time.monotonic()` when a worker last wrote something.
            timeout: Seconds that the clean-up is allowed to take.
        """
        now, until = time.monotonic(), start + WORKERS_UNTIL * timeout
        if self._ended_at is not None:
            self._end_left_behind(now, until)
        elif not self._signalled:
            if now >= self._when_to_terminate(now, start, last_output, timeout):
                self.terminate()
        else:
            self._note_left_behind()
            if self._signalled == "terminated" and now >= self._when_to_kill(start, timeout):
                self._signal("killed", KILL)

    def terminate(self) -> None:
        """Send SIGTERM, once."""
        if not self._signalled:
            self._terminated_at = self._told_at = time.monotonic()
            self._signal("terminated", signal.SIGTERM)

    def _when_to_terminate(
        self, now: float, start: float, last_output: float, timeout: float
    ) -> float:
        if self.asked:
            return start + TERMINATE_AT * timeout
        # It may go on with what it is doing, unless Python itself would end it in mid-work.
        if not self._is_awaited():
            return min(start + IDLE_SECONDS, start + IDLE_LIMIT * timeout)
        idle_at = max(last_output, self._last_computing(now)) + IDLE_SECONDS
        if now >= idle_at and self._waits_for_turn():
            self._busy_at, idle_at = now, now + IDLE_SECONDS
        return min(idle_at, start + IDLE_LIMIT * timeout)

    def _when_to_kill(self, start: float, timeout: float) -> float:
        kill_at = start + KILL_AT * timeout
        if not self._left_behind:
            return kill_at
        # Those that it leaves behind need time too, though it may have half of its own itself.
        in_time = start + WORKERS_UNTIL * timeout - 2 * LEFT_ALONE_SECONDS
        return min(kill_at, max(in_time, (self._terminated_at + kill_at) / 2))

    def _is_awaited(self) -> bool:
        """Tell whether it may finish a computation; Python itself terminates daemons at once."""
        return self.report.registered or not self.process.daemon

    def _last_computing(self, now: float) -> float:
        if sys.platform == "win32":
            used = cpu_seconds_of(self.process.sentinel)
        else:
            used = busy_seconds(self.pid)
        if used - self._cpu_seconds >= BUSY_CPU_SECONDS:
            self._cpu_seconds, self._busy_at = used, now
        return self._busy_at

    def _waits_for_turn(self) -> bool:
        """Tell whether it would go on if it got a processor; what it waits is counted when it has.

        That is known where there is `/proc`.
        """
        status = tree.status_of(self.pid)
        return status is not None and status.runnable

    def _signal(self, word: str, signum: int) -> None:
        # Noted before, as a process that dies by a signal leaves behind what it made.
        made, below = made_by(self.pid), look.now().table().descendants(self.pid)
        has_outlived = self.process.exitcode == FORK_SERVER_DIED
        if not has_outlived and not handle.is_there(self.process):
            return  # That may be another's by now.
        self._semaphores |= made
        self._left_behind |= below
        self._signalled = word
        if has_outlived:
            tree.send(self._outlives, signum)
        else:
            handle.send(self.process, signum)

    def _note_left_behind(self) -> None:
        """Note whom those have started that are ending; who was told to already starts nobody."""
        parents = tree.living(self._left_behind)
        if self._ended_at is None and (status := tree.status_of(self.pid)):
            parents = {(self.pid or 0, status.start): None} | parents
        late = tree.late_children(parents)
        if self._ending:
            tree.send({who: None for who in late if who not in self._left_behind}, self._ending)
        self._left_behind |= late

    def _end_left_behind(self, now: float, until: float) -> None:
        """End those whom a dead worker leaves behind, unless they end by themselves."""
        self._note_left_behind()
        ended_at = self._ended_at or now
        if not self._ending and now >= min(ended_at + LEFT_ALONE_SECONDS, (ended_at + until) / 2):
            self._ending, self._told_at = signal.SIGTERM, now
            tree.send(self._left_behind, signal.SIGTERM)

    def give_up(self) -> None:
        """Kill a process that has not ended in time: Python would wait for it for ever."""
        if self.check_end():
            return
        if self._ended_at is None:
            self._signal("killed", KILL)
            self.process.join(EXITCODE_SECONDS)
        self._note_left_behind()
        self._ending = KILL
        tree.send(self._left_behind, KILL)
        until = time.monotonic() + EXITCODE_SECONDS
        while not self.check_end():
            if time.monotonic() >= until and self._ended_at is not None:
                self._left_behind.clear()
            elif time.monotonic() >= until:
                self.report.outcome = "still running"
            time.sleep(KILLED_LOOK_SECONDS)


def _make(entry: Entry, report: ResourceReport, _context: Context) -> WorkerCloser:
    return WorkerCloser(entry.resource, report, entry.stop)


def _is_spent(entry: Entry) -> bool:
    try:
        return entry.resource.exitcode is not None
    except ValueError:  # It has been closed.
        return True


# While it runs, multiprocessing itself holds it.
PROCESS = Kind(
    "process",
    ("multiprocessing.process.BaseProcess", "multiprocess.process.BaseProcess"),
    _make,
    options=STOP,
    is_spent=_is_spent,
)
