"""Executors of loky and joblib: they finish their jobs, and then end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.relatives import loky_jobs, loky_processes, shut_down_loky

from .base import STOP, Closer, Kind

if TYPE_CHECKING:
    from asgi_mpclean._items.calls import Call

    from .worker import WorkerCloser


class LokyCloser(Closer):
    """Takes an executor of loky through a clean-up, which has a way of its own to end workers."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._end: Call | None = None
        self._jobs = loky_jobs(self.resource)
        self._in_hand = [job for job in self._jobs if job.running()]

    def processes(self) -> list[Any]:
        """Return its workers, which it ends itself."""
        return loky_processes(self.resource)

    def ask(self) -> None:
        """Ask it in the app's own way, if there is one."""
        if self.stop is not None:
            self.call(self.stop, "the stop of")

    def look(self) -> list[WorkerCloser]:
        """End it, once the jobs are done that had been begun; it may begin others."""
        if all(job.done() for job in self._in_hand):
            self.force()
        return []

    def is_busy(self) -> bool:
        """Tell whether it has not ended yet."""
        return self._end is None or not self._end.wait(0)

    def force(self) -> None:
        """End it with what is in hand, in the way of loky."""
        if self._end is None:
            self._end = self.call(lambda: shut_down_loky(self.resource), "the end of")

    def finish(self) -> None:
        """End it, if that has not been done."""
        self.force()

    def end(self) -> None:
        """Report whether it has ended, and how many jobs were not done."""
        self.report.outcome = "still running" if self.is_busy() else "closed"
        waiting = [job for job in self._jobs if job not in self._in_hand]
        self.report.cancelled += sum(
            not job.done() or job.cancelled() or job.exception() is not None for job in waiting
        )


LOKY = Kind(
    "executor of loky",
    (
        "loky.process_executor.ProcessPoolExecutor",
        "joblib.externals.loky.process_executor.ProcessPoolExecutor",
    ),
    LokyCloser,
    options=STOP,
)
