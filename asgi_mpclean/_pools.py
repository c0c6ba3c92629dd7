"""Ending pools, executors and managers: jobs in hand are finished, the others are cancelled."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import multiprocessing.pool
from typing import TYPE_CHECKING, Any

from . import _cpython
from ._closers import Closer
from ._delivery import Sink
from ._queues import NONE_FRAME, QueueCloser
from ._report import ResourceReport
from ._workers import WorkerCloser

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Sequence

    from ._callbacks import Call

CANCELLED = "the pool was shut down before this job had begun"
# Of the outcomes of its workers, a pool has the worst.
OUTCOMES = ("closed", "terminated", "killed", "still running")
# The time (seconds) that a process may take to be gone that was killed at the very end.
KILLED = 0.2


class GroupCloser(Closer):
    """What pools and executors have in common: workers of their own."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._workers: list[WorkerCloser] = []
        self.names = _cpython.semaphore_names_of(self.resource)
        if _cpython.started_elsewhere(self.resource):
            self.report.outcome = "not a child of this process"

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
        """Report the worst that had to be done to any of its workers."""
        if self.report.outcome:
            return
        found = {worker.report.outcome for worker in self._workers}
        self.report.outcome = next((o for o in reversed(OUTCOMES) if o in found), "closed")
        self.report.semaphores += sum(worker.report.semaphores for worker in self._workers)


class PoolCloser(GroupCloser, Sink):
    """Takes a `Pool` or a `ThreadPool` through a clean-up.

    To the queue of its jobs it is what a `Delivery` is to a queue of the app.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._jobs: QueueCloser | None = None
        self._cancels = False
        self._forced = False
        if not self.report.outcome and _cpython.pool_is_terminated(self.resource):
            self.report.outcome = "already closed"

    def begin(self) -> None:
        """Close it, and take from then on what its workers have not begun."""
        if not _cpython.pool_is_transparent():
            self.force()
            return
        self.call(self.resource.close, "the close of")
        if not isinstance(self.resource, multiprocessing.pool.ThreadPool):
            jobs = _cpython.pool_jobs(self.resource)
            self._jobs = QueueCloser(jobs, self.report, self, self.snapshot)
        self._cancels = True

    def processes(self) -> Iterable[Any]:
        """Return its processes as they are now."""
        return _cpython.pool_processes(self.resource)

    def look(self) -> list[WorkerCloser]:
        """Cancel the jobs that nobody has begun."""
        if self._jobs is not None:
            self._jobs.read_some()
        elif self._cancels:
            self.add_items(_cpython.take_thread_jobs(self.resource))
        return super().look()

    def fileno(self) -> int | None:
        """Return the descriptor that is readable when there are jobs that nobody has begun."""
        return None if self._jobs is None else self._jobs.fileno()

    def add_frames(self, frames: Sequence[bytes]) -> None:
        """Cancel pickled jobs."""
        self.add_items([None if frame == NONE_FRAME else frame for frame in frames])

    def add_items(self, jobs: Sequence[Any]) -> None:
        """Cancel jobs, and give back the sentinels among them."""
        cancelled = [_cpython.job_of(job) for job in jobs if job is not None]
        self.report.cancelled += len(cancelled)
        if cancelled:
            error = concurrent.futures.CancelledError(CANCELLED)
            fail = functools.partial(_cpython.fail_jobs, self.resource, cancelled, error)
            self.call(fail, "the cancelled jobs of")
        for _ in range(len(jobs) - len(cancelled)):
            self.call(functools.partial(_cpython.end_pool_worker, self.resource), "the end of")

    @property
    def is_busy(self) -> bool:
        """Whether it may have jobs, and start another worker for them."""
        return not (self._forced or self.report.outcome) and _cpython.pool_is_busy(self.resource)

    def force(self) -> None:
        """Terminate it, so that it starts no more workers in the place of those that end."""
        if not self._forced and not self.report.outcome:
            self._forced = True
            self.call(self.resource.terminate, "the end of")

    def finish(self) -> None:
        """Let its threads end: none of them may wait for a lock that a dead worker held.

        Nor may a thread of the app, which is just terminating it.
        """
        if not _cpython.started_elsewhere(self.resource):
            _cpython.free_pool(self.resource)
        self.force()


class ExecutorCloser(GroupCloser):
    """Takes a `ProcessPoolExecutor` through a clean-up."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Taken now, as its shutdown lets go of them.
        self._processes = _cpython.executor_processes(self.resource)
        self._futures = _cpython.executor_futures(self.resource)
        self._calls = _cpython.executor_calls(self.resource)
        self._shutdown: Call | None = None
        self._thread: threading.Thread | None = None
        self._forced = False
        # Done with or not, its own thread may still be busy ending it.
        self._was = _cpython.executor_outcome(self.resource)

    def begin(self) -> None:
        """Shut it down.

        In the way that waits: otherwise it lets go of what its thread needs for replacing workers
        (`max_tasks_per_child`), which then ends with a traceback. But who waits so twice at a time,
        as the app may be doing it, closes its descriptors twice.
        """
        if self._was or not self.caller.has_thread():
            self._thread = _cpython.begin_executor_shutdown(self.resource)
            return
        shutdown = functools.partial(self.resource.shutdown, wait=True, cancel_futures=True)
        self._shutdown = self.call(shutdown, "the shutdown of")

    @property
    def is_busy(self) -> bool:
        """Whether it may start another worker."""
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
        if self._calls is not None and _cpython.feeder(self._calls) is not None:
            QueueCloser(self._calls, self.report, Sink(), self.snapshot).read_some()

    def end(self) -> None:
        """Count the jobs that will not be done."""
        super().end()
        if self._was and self.report.outcome == "closed":
            self.report.outcome = self._was
        self.report.cancelled += sum(future.cancelled() for future in self._futures)


class ManagerCloser(Closer):
    """Ends a manager after all who may use what it serves."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.process = _cpython.manager_process(self.resource)
        if self.process is None:
            self.report.outcome = "not started"
        elif _cpython.started_elsewhere(self.resource):
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
                self.process.kill()
                self.process.join(KILLED)
        ends = {None: "still running", 0: "closed"}
        self.report.exitcode = self.process.exitcode
        self.report.outcome = ends.get(self.process.exitcode, "killed")
