"""What pools and executors have in common: workers of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.groups import started_elsewhere
from asgi_mpclean._cpython.semaphores import semaphore_names_of
from asgi_mpclean._report import ResourceReport

from .base import Closer
from .worker import WorkerCloser

if TYPE_CHECKING:
    from collections.abc import Iterable

# From the best to the worst: a group has the worst of the outcomes of its workers.
OUTCOMES = ("closed", "terminated", "killed", "still running")


class GroupCloser(Closer):
    """A pool or an executor."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._workers: list[WorkerCloser] = []
        self.names = semaphore_names_of(self.resource)
        if started_elsewhere(self.resource):
            self.report.outcome = "not a child of this process"
        # The app must not notice, as its threads may use it until the very end.
        self.quietly = self.context.going_away

    def living(self) -> list[WorkerCloser]:
        """Return the workers that have not ended."""
        return [worker for worker in self._workers if not worker.report.outcome]

    def terminate_workers(self) -> None:
        """Send SIGTERM to those of its workers that live, once to each."""
        for worker in self.living():
            worker.terminate()

    def ask(self) -> None:
        """Let it take no more jobs, finish those in hand and cancel the others."""
        if self.report.outcome:
            return
        if self.stop is None:
            self.begin()
        else:
            self.call(self.stop, "the stop of")

    def begin(self) -> None:
        """Ask it in the way of its kind."""
        raise NotImplementedError

    def processes(self) -> Iterable[Any]:
        """Return its processes as they are now."""
        raise NotImplementedError

    def look(self) -> list[WorkerCloser]:
        """Return its workers that are new."""
        if self.report.outcome:
            return []
        known = {id(worker.process) for worker in self._workers}
        new = [self._worker(process) for process in self.processes() if id(process) not in known]
        self._workers += new
        return new

    def _worker(self, process: Any) -> WorkerCloser:
        worker = WorkerCloser(process, ResourceReport(self.report.name, "Process"), None)
        worker.asked = True
        return worker

    def end(self) -> None:
        """Report the worst of the outcomes of its workers."""
        if self.report.outcome:
            return
        found = {worker.report.outcome for worker in self._workers}
        self.report.outcome = next((o for o in reversed(OUTCOMES) if o in found), "closed")
        self.report.semaphores += sum(worker.report.semaphores for worker in self._workers)
