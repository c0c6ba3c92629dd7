"""`Pool` and `ThreadPool`: jobs in hand are finished, the others are cancelled."""

from __future__ import annotations

import concurrent.futures
import functools
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.groups import started_elsewhere
from asgi_mpclean._cpython.pools import (
    answer_results,
    end_pool_worker,
    fail_jobs,
    forget_pool,
    free_pool,
    has_working_threads,
    is_thread_pool,
    job_of,
    jobs_of,
    keep_pool_from_starting,
    pool_has_ended,
    pool_is_being_terminated,
    pool_is_busy,
    pool_is_terminated,
    pool_is_transparent,
    pool_jobs,
    pool_processes,
    stop_pool,
    take_thread_jobs,
)
from asgi_mpclean._cpython.queues import has_readable_pipes
from asgi_mpclean._cpython.waiting import results_awaited
from asgi_mpclean._items.delivery import Sink

from .base import STOP, Kind
from .drain import NONE_FRAMES, is_abandoned
from .group import GroupCloser
from .queue import QueueCloser

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .base import Entry
    from .worker import WorkerCloser

CANCELLED = "the pool was shut down before this job had begun"


class PoolCloser(GroupCloser, Sink):
    """Takes a `Pool` or a `ThreadPool` through a clean-up.

    It receives the jobs that are read from the pool's queue, as a `Delivery` receives items.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._jobs: QueueCloser | None = None
        self._is_asked = False
        # By the app, which may be in the middle of it: it waits there for ever if a worker has died
        # with the lock for jobs, and those that have taken its place wait for that lock.
        self._forced = self._is_terminated = pool_is_terminated(self.resource)
        living = any(process.exitcode is None for process in pool_processes(self.resource))
        if not self.report.outcome and self._is_terminated and not living:
            self.report.outcome = "already closed"

    def begin(self) -> None:
        """Close it; from now on, jobs that no worker has begun are taken back."""
        if self._is_terminated:
            return
        if not pool_is_transparent():
            self.force()
            return
        if pool_is_being_terminated(self.resource):
            self.force()
            self._is_terminated = True
            return
        if self.quietly:
            self.call(functools.partial(stop_pool, self.resource), "the end of")
        else:
            self.call(self.resource.close, "the close of")
        # By `get` one could wait for what a worker has just taken.
        if not is_thread_pool(self.resource) and has_readable_pipes():
            jobs = pool_jobs(self.resource)
            self._jobs = QueueCloser(jobs, self.report, self, self.context.snapshot)
        self._is_asked = True

    def processes(self) -> Iterable[Any]:
        """Return its processes as they are now."""
        return pool_processes(self.resource)

    def look(self) -> list[WorkerCloser]:
        """Cancel the jobs that nobody has begun."""
        if self._jobs is not None:
            self._jobs.read_some()
        elif self._is_asked and is_thread_pool(self.resource):
            self.add_items(take_thread_jobs(self.resource))
        new = super().look()
        if self._is_terminated:
            self.terminate_workers()
        return new

    def fileno(self) -> int | None:
        """Return the descriptor that is readable when there are jobs that nobody has begun."""
        return None if self._jobs is None else self._jobs.fileno()

    def add_frames(self, frames: Sequence[bytes], _size: int = 0) -> None:
        """Cancel pickled jobs."""
        self.add_items([None if frame in NONE_FRAMES else frame for frame in frames])

    def add_items(self, jobs: Sequence[Any]) -> None:
        """Cancel jobs, and give back the sentinels among them."""
        cancelled = [job_of(job) for job in jobs if job is not None]
        sentinels = len(jobs) - len(cancelled)
        self.report.cancelled += len(cancelled)
        if self.quietly:
            spared = jobs_of(self.resource, results_awaited(by_daemons=True))
            told = cancelled if self.report.registered else []
            cancelled = [(job, part) for job, part in told if job not in spared]
        if cancelled:
            error = concurrent.futures.CancelledError(CANCELLED)
            fail = functools.partial(fail_jobs, self.resource, cancelled, error)
            self.call(fail, "the cancelled jobs of")
        for _ in range(sentinels):
            self.call(functools.partial(end_pool_worker, self.resource), "the end of")

    def is_busy(self) -> bool:
        """Tell whether it may have jobs, and start another worker for them."""
        if self._forced or self.report.outcome:
            return False
        return pool_is_busy(self.resource) or has_working_threads(self.resource)

    def force(self) -> None:
        """Terminate it, so that it starts no more workers in the place of those that end."""
        if not self._forced and not self.report.outcome:
            self._forced = True
            keep_pool_from_starting(self.resource)
            if self._is_asked:  # Else it depends on who is first how they seem to have ended.
                self.terminate_workers()
            if not self.quietly:
                self.call(self.resource.terminate, "the end of")
            elif pool_is_transparent():
                self.call(functools.partial(stop_pool, self.resource), "the end of")

    def finish(self) -> None:
        """Let its threads end: none of them may wait for a lock that a dead worker held.

        Nor may a thread of the app, which is just terminating it, or waits for a result that
        nobody will send any more.
        """
        if started_elsewhere(self.resource):
            self.force()
            return
        free_pool(self.resource, is_abandoned)
        self.force()
        error = concurrent.futures.CancelledError(CANCELLED)
        if not self.quietly:
            self.call(functools.partial(answer_results, self.resource, error), "the end of")
            return
        forget_pool(self.resource)
        if jobs_of(self.resource, results_awaited(by_daemons=False)):
            spared = jobs_of(self.resource, results_awaited(by_daemons=True))
            answer = functools.partial(answer_results, self.resource, error, but=spared)
            self.call(answer, "the end of")


def _has_ended(entry: Entry) -> bool:
    return pool_has_ended(entry.resource)


# While it has jobs, what waits for their results holds it.
POOL = Kind(
    "pool",
    ("multiprocessing.pool.Pool", "multiprocess.pool.Pool"),
    PoolCloser,
    options=STOP,
    is_spent=_has_ended,
)
