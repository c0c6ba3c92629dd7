"""The shutdown plan: what is done to everything, in which order, under one deadline.

    take the backlogs -> ask the workers -> read while they end -> terminate -> kill
    -> read what is left -> unlink, while it is delivered -> close -> report

It runs in the thread that triggered it, which may be the main thread inside a signal handler: it
takes no lock without a limit, and calls no code of the user itself.
"""

from __future__ import annotations

import _thread
import logging
import time
from typing import TYPE_CHECKING

from asgi_mpclean._cpython.discovery import threads_in_get
from asgi_mpclean._cpython.helpers import remove_files
from asgi_mpclean._cpython.queues import feeder
from asgi_mpclean._cpython.semaphores import Snapshot, unlink_semaphores
from asgi_mpclean._resources.base import note_cleaned
from asgi_mpclean._resources.queue import QueueCloser

from .closers import Closers
from .discovery import children, discover, discover_children, name_unregistered
from .workers import WorkersEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from asgi_mpclean._report import CleanupReport
    from asgi_mpclean._resources.base import Entry

    from .request import Request

logger = logging.getLogger("asgi_mpclean")

# The time (seconds) that the fork server may take to end, so that its files can be removed.
FORK_SERVER_SECONDS = 0.2
# At most so many feeders are waited for; more would hold up the caller, and end in a thread.
FEEDERS_AT_ONCE = 16


class Plan:
    """One clean-up.

    Args:
        entries: What is to be cleaned up.
        request: How, and until when.
    """

    def __init__(self, entries: Iterable[Entry], request: Request) -> None:
        self._request = request = request.begun()
        # Counting the items that could not be delivered takes time as well.
        self._margin = min(0.05 * request.timeout, 0.1)
        self._closers = Closers(request)
        self._workers = WorkersEnd(self._closers, request.timeout, discover=request.discover)
        if request.insists:
            self.hurry()
        for entry in entries:
            self._closers.add(entry)

    def hurry(self) -> None:
        """Give the workers less time from now on; from another thread or a signal handler."""
        self._workers.hurry()

    def run(self) -> CleanupReport:
        """Do it; returns what was done."""
        for step in self._steps():
            try:
                step()
            except Exception:  # noqa: PERF203 - one that goes wrong does not stop the rest
                logger.warning("a step of the clean-up failed", exc_info=True)
        report = self._closers.report
        report.seconds = time.monotonic() - self._closers.start
        report.deadline_passed = report.seconds > self._request.timeout
        return report

    def _steps(self) -> Iterator[Callable[[], None]]:
        discovers = self._request.discover
        if discovers:
            yield self._discover
        if self._closers.workers or self._closers.others or discovers:
            yield self._workers.ask
            yield self._workers.wait
        yield self._empty_queues
        yield self._unlink
        yield self._wait_for_delivery
        if discovers:
            yield self._unlink_rest
        yield self._close
        if discovers and self._request.going_away:
            yield _remove_files

    def _discover(self) -> None:
        discover(self._closers)
        self._workers.look()
        discover_children(self._closers)

    def _empty_queues(self) -> None:
        closers = self._closers
        users_ended = not any(process.is_alive() for process in children(closers))
        until = closers.deadline - self._margin
        closers.deliveries.hold()
        moving: list[QueueCloser] = []  # Each queue is read once before any of them is waited for.

        def look(queue: QueueCloser) -> None:
            if not queue.finish(None, users_ended=users_ended):
                moving.append(queue)

        closers.each(look, closers.queues)
        closers.each(lambda queue: queue.finish(until, users_ended=users_ended), moving)
        closers.deliveries.release()
        closers.each(lambda other: other.finish(), closers.others)

    def _unlink(self) -> None:
        names: list[str] = []
        for report, own in self._closers.semaphores:
            claimed = self._closers.snapshot.claim(own)
            report.semaphores += len(claimed)
            names += claimed
        unlink_semaphores(names)

    def _wait_for_delivery(self) -> None:
        closers = self._closers
        closers.runner.wait(closers.deadline - self._margin / 2)
        closers.runner.abandon()
        closers.each(lambda queue: queue.delivery.end(), closers.queues)
        name_unregistered(closers)
        closers.each(lambda other: other.end(), closers.others)

    def _unlink_rest(self) -> None:
        snapshot = Snapshot()
        names = snapshot.claim(snapshot.names)
        self._closers.report.unlisted_semaphores = len(names)
        unlink_semaphores(names)

    def _close(self) -> None:
        closers = self._closers
        for closer in closers.others:
            note_cleaned(closer.resource)
            closers.note_end(closer.report)
        closers.each(self._release, closers.queues)
        if self._request.going_away:
            readers = threads_in_get()
            closers.each(
                lambda queue: queue.close_for_exit(readers.get(id(queue.queue), [])), closers.queues
            )
        elif len(closers.queues) <= FEEDERS_AT_ONCE or not self._close_in_background():
            closers.each(QueueCloser.close, closers.queues)

    def _release(self, queue: QueueCloser) -> None:
        note_cleaned(queue.queue)
        queue.release(going_away=self._request.going_away)
        self._closers.note_end(queue.report)

    def _close_in_background(self) -> bool:
        try:
            _thread.start_new_thread(_close_one_by_one, (self._closers.queues,))
        except RuntimeError:  # The interpreter is ending.
            return False
        return True


def _remove_files() -> None:
    remove_files(FORK_SERVER_SECONDS)


def _close_one_by_one(queues: list[QueueCloser]) -> None:
    for queue in queues:
        thread = feeder(queue.queue)
        queue.close()
        if thread is not None:
            thread.join(1)  # A thousand of them at once would keep everybody else from running.
