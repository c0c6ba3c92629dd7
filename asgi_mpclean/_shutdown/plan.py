"""The shutdown plan: what is done to everything, in which order, under one deadline.

    take the backlogs -> ask the workers -> read while they end -> terminate -> kill
    -> read what is left -> unlink, while it is delivered -> close -> report
    -> all of this for the queues that carry log records

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
from asgi_mpclean._cpython.relatives import unlink_semaphores_of_relatives
from asgi_mpclean._cpython.semaphores import Snapshot, unlink_semaphores
from asgi_mpclean._resources.base import note_cleaned
from asgi_mpclean._resources.queue import QueueCloser

from .closers import Closers
from .discovery import children, discover, name_unregistered
from .logs import LogQueues
from .request import BY_CALL
from .waking import Waiting, wake_readers
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
        lenders: Queues that stay as they are, but for the room that a worker may wait for.
    """

    def __init__(
        self, entries: Iterable[Entry], request: Request, lenders: Iterable[Entry] = ()
    ) -> None:
        self._request = request = request.begun()
        # Counting the items that could not be delivered takes time as well.
        self._margin = min(0.05 * request.timeout, 0.1)
        self._closers = Closers(request)
        self._workers = WorkersEnd(self._closers, request.timeout, discover=request.discover)
        self._logs = LogQueues(self._closers)
        if request.insists:
            self.hurry()
        for entry in entries:
            self._closers.add(entry)
        for entry in lenders:
            self._closers.lend(entry)

    def hurry(self) -> None:
        """Give the workers less time from now on; from another thread or a signal handler."""
        self._workers.hurry()

    @property
    def report(self) -> CleanupReport:
        """What was done so far."""
        return self._closers.report

    def run(self) -> CleanupReport:
        """Do it, all but the queues that carry log records; returns what was done."""
        self._take(self._steps())
        return self.report

    def end_logs(self) -> None:
        """End the queues that carry log records, after the last one about this clean-up."""
        if self._logs:
            self._take([self._end_logs])
            self._closers.runner.abandon()

    def _take(self, steps: Iterable[Callable[[], None]]) -> None:
        for step in steps:
            try:
                step()
            except Exception:  # noqa: PERF203 - one that goes wrong does not stop the rest
                logger.warning("a step of the clean-up failed", exc_info=True)
        report = self._closers.report
        report.seconds = time.monotonic() - self._closers.start
        report.deadline_passed = report.seconds > self._request.timeout

    def _steps(self) -> Iterator[Callable[[], None]]:
        discovers = self._request.discover
        if discovers:
            yield self._discover
        yield self._find_logs
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
        self._workers.find_children()

    def _find_logs(self) -> None:
        self._logs.find()
        self._workers.spared = self._logs.listeners

    @property
    def _queues(self) -> list[QueueCloser]:
        return self._logs.without(self._closers.queues)

    def _empty_queues(self) -> None:
        closers = self._closers
        readers_of_logs = {id(worker.process) for worker in self._logs.listeners}
        living = [child for child in children(closers) if child.is_alive()]
        users_ended = all(id(child) in readers_of_logs for child in living)
        until = closers.deadline - self._margin
        closers.deliveries.hold()
        moving: list[QueueCloser] = []  # Each queue is read once before any of them is waited for.

        def look(queue: QueueCloser) -> None:
            if not queue.finish(None, users_ended=users_ended):
                moving.append(queue)

        closers.each(look, self._queues)
        closers.each(lambda queue: queue.finish(until, users_ended=users_ended), moving)
        closers.deliveries.release()
        closers.each(lambda other: other.finish(), closers.others)

    def _unlink(self) -> None:
        names: list[str] = []
        # Those of queues that stay open are in use by who has them, with a name or without.
        for report, own in self._closers.semaphores:
            claimed = self._closers.snapshot.claim(own)
            report.semaphores += len(claimed)
            names += claimed
        unlink_semaphores(names)

    def _wait_for_delivery(self) -> None:
        closers = self._closers
        for lender in closers.lenders:
            lender.delivery.flush()
        closers.runner.wait(closers.deadline - self._margin / 2)
        if not self._logs:
            closers.runner.abandon()
        closers.each(lambda queue: queue.delivery.end(), self._queues)
        name_unregistered(closers)
        closers.each(lambda other: other.end(), closers.others)
        closers.each(closers.end_lending, closers.lenders)

    def _unlink_rest(self) -> None:
        snapshot = Snapshot()
        names = snapshot.claim(snapshot.names)
        self._closers.report.unlisted_semaphores = len(names)
        unlink_semaphores(names)

    def _close(self) -> None:
        closers, queues = self._closers, self._queues
        for closer in closers.others:
            note_cleaned(closer.resource)
            closers.note_end(closer.report)
        closers.each(self._release, queues)
        going_away = self._request.going_away
        if self._request.trigger not in BY_CALL:
            queues = self._spare_threads(queues)
        if going_away:
            closers.each(QueueCloser.close_for_exit, queues)
        elif len(queues) <= FEEDERS_AT_ONCE or not self._close_in_background(queues):
            closers.each(QueueCloser.close, queues)

    def _spare_threads(self, queues: list[QueueCloser]) -> list[QueueCloser]:
        """See to it that no thread of the app gets an exception, as it has nothing to catch it.

        Returns:
            The queues that no thread waits in.
        """
        readers, going_away = threads_in_get(), self._request.going_away
        waiting = [Waiting(q, threads) for q in queues if (threads := readers.get(id(q.queue)))]
        wake_readers(waiting, going_away=going_away)
        self._closers.each(QueueCloser.refuse_puts, queues)
        return [queue for queue in queues if id(queue.queue) not in readers]

    def _end_logs(self) -> None:
        closers, going_away = self._closers, self._request.going_away
        self._logs.end(closers.deadline - self._margin)
        for queue in self._logs.queues:
            if going_away:
                self._release(queue)
            else:
                queue.leave_open(is_read=self._logs.is_read_here(queue))
                closers.note_end(queue.report)

    def _release(self, queue: QueueCloser) -> None:
        note_cleaned(queue.queue)
        queue.release(going_away=self._request.going_away)
        self._closers.note_end(queue.report)

    def _close_in_background(self, queues: list[QueueCloser]) -> bool:
        try:
            _thread.start_new_thread(_close_one_by_one, (queues,))
        except RuntimeError:  # The interpreter is ending.
            return False
        return True


def _remove_files() -> None:
    unlink_semaphores_of_relatives()
    remove_files(FORK_SERVER_SECONDS)


def _close_one_by_one(queues: list[QueueCloser]) -> None:
    for queue in queues:
        thread = feeder(queue.queue)
        queue.close()
        if thread is not None:
            thread.join(1)  # A thousand of them at once would keep everybody else from running.
