"""Executors of loky and joblib, pools of `multiprocess`: they finish their jobs, and then end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.relatives import (
    has_results_to_come,
    loky_jobs,
    processes_of_relative,
    shut_down_loky,
)

from .base import STOP, Closer, Kind

if TYPE_CHECKING:
    from asgi_mpclean._items.calls import Call

    from .worker import WorkerCloser


class RelativeCloser(Closer):
    """Takes something with workers through a clean-up that has a way of its own to end them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._end: Call | None = None

    def processes(self) -> list[Any]:
        """Return its workers, which it ends itself."""
        return processes_of_relative(self.resource)

    def has_finished(self) -> bool:
        """Tell whether it has nothing in hand."""
        raise NotImplementedError

    def shut_down(self) -> None:
        """End it; may block."""
        raise NotImplementedError

    def ask(self) -> None:
        """Ask it in the app's own way, if there is one."""
        if self.stop is not None:
            self.call(self.stop, "the stop of")

    def look(self) -> list[WorkerCloser]:
        """End it, once what it has in hand is finished."""
        if self.has_finished():
            self.force()
        return []

    def is_busy(self) -> bool:
        """Tell whether it has not ended yet."""
        return self._end is None or not self._end.wait(0)

    def force(self) -> None:
        """End it with what is in hand."""
        if self._end is None:
            self._end = self.call(self.shut_down, "the end of")

    def finish(self) -> None:
        """End it, if that has not been done."""
        self.force()

    def end(self) -> None:
        """Report whether it has ended."""
        self.report.outcome = "still running" if self.is_busy() else "closed"


class LokyCloser(RelativeCloser):
    """Takes an executor of loky through a clean-up."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._jobs = loky_jobs(self.resource)
        self._in_hand = [job for job in self._jobs if job.running()]

    def shut_down(self) -> None:
        """End it in the way of loky."""
        shut_down_loky(self.resource)

    def has_finished(self) -> bool:
        """Tell whether the jobs are done that had been begun; it may begin others."""
        return all(job.done() for job in self._in_hand)

    def end(self) -> None:
        """Report as well how many jobs were not done."""
        super().end()
        waiting = [job for job in self._jobs if job not in self._in_hand]
        self.report.cancelled += sum(
            not job.done() or job.cancelled() or job.exception() is not None for job in waiting
        )


class DillPoolCloser(RelativeCloser):
    """Takes a pool of `multiprocess` through a clean-up."""

    def has_finished(self) -> bool:
        """Tell whether it has no jobs."""
        return not has_results_to_come(self.resource)

    def shut_down(self) -> None:
        """Terminate it."""
        self.resource.terminate()


LOKY = Kind(
    "executor of loky",
    (
        "loky.process_executor.ProcessPoolExecutor",
        "joblib.externals.loky.process_executor.ProcessPoolExecutor",
    ),
    LokyCloser,
    options=STOP,
)
DILL_POOL = Kind("pool of multiprocess", ("multiprocess.pool.Pool",), DillPoolCloser, options=STOP)
