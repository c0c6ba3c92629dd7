"""`ProcessPoolExecutor`: jobs in hand are finished, the others are cancelled."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.executors import (
    begin_executor_shutdown,
    executor_calls,
    executor_futures,
    executor_outcome,
    executor_processes,
)
from asgi_mpclean._cpython.queues import feeder
from asgi_mpclean._items.delivery import Sink

from .base import STOP, Kind
from .group import GroupCloser
from .queue import QueueCloser

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from asgi_mpclean._items.calls import Call


class ExecutorCloser(GroupCloser):
    """Takes a `ProcessPoolExecutor` through a clean-up."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Taken now, as the shutdown of the executor drops its references to them.
        self._processes = executor_processes(self.resource)
        self._futures = executor_futures(self.resource)
        self._calls = executor_calls(self.resource)
        self._shutdown: Call | None = None
        self._thread: threading.Thread | None = None
        self._forced = False
        # Whatever its state, its own thread may still be busy ending it.
        self._was = executor_outcome(self.resource)

    def begin(self) -> None:
        """Shut it down.

        In the way that waits: otherwise it lets go of what its thread needs for replacing workers
        (`max_tasks_per_child`), which then ends with a traceback. But who waits so twice at a time,
        as the app may be doing it, closes its descriptors twice.
        """
        if self._was or not self.context.runner.has_threads:
            self._thread = begin_executor_shutdown(self.resource)
            return
        shutdown = functools.partial(self.resource.shutdown, wait=True, cancel_futures=True)
        self._shutdown = self.call(shutdown, "the shutdown of")

    def is_busy(self) -> bool:
        """Tell whether it may start another worker."""
        if self._forced:
            return False
        if self._shutdown is None:
            return self._thread is not None and self._thread.is_alive()
        return not self._shutdown.wait(0)

    def force(self) -> None:
        """Wait for nothing but the workers there are."""
        self._forced = True

    def processes(self) -> Iterable[Any]:
        """Return its processes as they are now."""
        return list(self._processes.copy().values())

    def finish(self) -> None:
        """Free a feeder that is blocked by jobs for workers that were killed."""
        if self._calls is not None and feeder(self._calls) is not None:
            QueueCloser(self._calls, self.report, Sink(), self.context.snapshot).read_some()

    def end(self) -> None:
        """Count the jobs that will not be done."""
        super().end()
        if self._was and self.report.outcome == "closed":
            self.report.outcome = self._was
        self.report.cancelled += sum(future.cancelled() for future in self._futures)


EXECUTOR = Kind(
    "executor", ("concurrent.futures.process.ProcessPoolExecutor",), ExecutorCloser, options=STOP
)
