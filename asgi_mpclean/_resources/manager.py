"""Managers: ended after all processes that may use the objects they serve."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.groups import manager_has_ended, manager_process, started_elsewhere
from asgi_mpclean._worker import handle

from .base import Closer, Kind

if TYPE_CHECKING:
    from .base import Entry

# The time (seconds) that a process may take to be gone that was killed at the very end.
KILLED_SECONDS = 0.2
# How often (seconds) it is then looked whether its exit code is known.
KILLED_LOOK_SECONDS = 0.005


class ManagerCloser(Closer):
    """Shuts a manager down, and kills its server if that does not answer."""

    ends_last = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.process = manager_process(self.resource)
        if self.process is None:
            self.report.outcome = "not started"
        elif started_elsewhere(self.resource):
            self.report.outcome = "not a child of this process"
        elif self.process.exitcode is not None:
            self.report.outcome = "already closed"

    def finish(self) -> None:
        """Let it shut down."""
        if not self.report.outcome:
            self.call(self.resource.shutdown, "the shutdown of")

    def end(self) -> None:
        """Kill the server if it has not ended by now."""
        if self.report.outcome or self.process is None:
            return
        if self.process.exitcode is None:
            with contextlib.suppress(OSError, ValueError):
                handle.send(self.process, handle.KILL)
                wait_for_exitcode(self.process)
        ends = {None: "still running", 0: "closed"}
        self.report.exitcode = self.process.exitcode
        self.report.outcome = ends.get(self.process.exitcode, "killed")


def wait_for_exitcode(process: Any) -> None:
    """Wait until it is known how a killed server ended.

    Its own `shutdown` waits for it as well, in another thread: where that has reaped it, `join`
    returns at once, and the exit code is there a moment later.
    """
    until = time.monotonic() + KILLED_SECONDS
    process.join(KILLED_SECONDS)
    while process.exitcode is None and time.monotonic() < until:
        time.sleep(KILLED_LOOK_SECONDS)


def _has_ended(entry: Entry) -> bool:
    return manager_has_ended(entry.resource)


MANAGER = Kind(
    "manager",
    ("multiprocessing.managers.BaseManager",),
    ManagerCloser,
    is_spent=_has_ended,
)
