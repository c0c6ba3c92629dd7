"""The workers' part of a clean-up: asked to stop, read while they end, terminated, killed."""

from __future__ import annotations

import multiprocessing.connection
import sys
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._resources.asking import WorkOff
from asgi_mpclean._resources.queue import QueueCloser
from asgi_mpclean._resources.worker import TERMINATE_AT, WORKERS_UNTIL, WorkerCloser
from asgi_mpclean._worker import look

from .discovery import add_children, children, discover_executors, let_executors_begin

if TYPE_CHECKING:
    from asgi_mpclean._resources.base import Closer

    from .closers import Closers

# The longest time (seconds) between two looks at the workers.
LOOK_SECONDS = 0.02
# The time (seconds) that workers get once somebody insists: gunicorn kills two seconds after that.
INSISTED_SECONDS = 1.5
# The time (seconds) that a worker gets to finish reading an item from a queue.
TAKING_SECONDS = 0.2


class WorkersEnd:
    """Ends the workers of a clean-up, and of its pools and executors.

    Args:
        closers: Those of the clean-up.
        timeout: Seconds that all of the clean-up may take.
        discover: End also the workers that nobody registered.
    """

    def __init__(self, closers: Closers, timeout: float, *, discover: bool) -> None:
        self._closers = closers
        self._discover = discover
        # The seconds that the workers get, and from when on.
        self._time = closers.start, timeout
        self._busy: list[Closer] = []
        self.spared: list[WorkerCloser] = []  # Somebody else ends them.

    def hurry(self) -> None:
        """Give the workers less time from now on; from another thread or a signal handler."""
        now = time.monotonic()
        if now + INSISTED_SECONDS < self._closers.deadline:
            self._time = now, INSISTED_SECONDS

    def ask(self) -> None:
        """Ask the workers to stop, and take the jobs that they have not begun from their queues."""
        closers = self._closers
        asked = [(w, w.stop) for w in self._check_ends() if w.stop is not None]
        worked_off = {id(stop.queue) for _, stop in asked if isinstance(stop, WorkOff)}
        for queue in closers.queues:
            queue.is_left_to_workers = id(queue.queue) in worked_off
        closers.each(QueueCloser.take_backlog, closers.queues)
        closers.each(lambda other: other.ask(), closers.others)
        if not asked:
            return
        # Jobs that nobody has begun are delivered, not worked off.
        until = time.monotonic() + TAKING_SECONDS
        closers.each(lambda queue: queue.read_some(until - time.monotonic()), closers.queues)
        for worker, stop in asked:
            worker.asked = True
            closers.runner.submit([stop], f"stop of {worker.report.name}")
        for queue in closers.queues:
            queue.ignore_sentinels()

    def wait(self) -> None:
        """Read the queues until all workers have ended; escalate as the deadline comes near."""
        closers, began = self._closers, time.monotonic()
        queues = closers.queues
        while True:
            # Asked first: what is busy may start another worker after the look at its workers.
            busy = self._find_busy()
            living = self._find_living()
            if not living and not busy:
                break
            start, timeout = self._time
            if time.monotonic() >= start + WORKERS_UNTIL * timeout:
                break
            queues = closers.each(QueueCloser.make_room, queues)
            closers.each(QueueCloser.lend_room, closers.lenders)
            last_output = max([began, *(queue.last_output for queue in queues)])
            if time.monotonic() >= start + TERMINATE_AT * timeout:
                closers.each(lambda other: other.force(), closers.others)
            self._escalate(living, start, last_output, timeout)
            closers.runner.wait(0)
            self._wait_for_change(living, queues)
        for queue in closers.queues:
            queue.is_left_to_workers = False
        with look.shared():
            closers.each(WorkerCloser.give_up, self._own_workers())
        for worker in self._own_workers():
            closers.note_end(worker.report)

    def _own_workers(self) -> list[WorkerCloser]:
        return [worker for worker in self._closers.workers if worker not in self.spared]

    def _escalate(
        self, workers: list[WorkerCloser], start: float, last_output: float, timeout: float
    ) -> None:
        # Many of them, on a host with many processes, look at those once.
        with look.shared():
            self._closers.each(lambda w: w.escalate(start, last_output, timeout), workers)

    def look(self) -> None:
        """Help pools and the like on, and find workers that they have started since."""
        closers = self._closers
        closers.each(lambda other: closers.workers.extend(other.look()), closers.others)

    def _find_living(self) -> list[WorkerCloser]:
        self.look()
        living = self._check_ends()
        if not living and self._discover:
            self._closers.each(lambda other: other.ask(), self.find_children())
            living = self._check_ends()
        return living

    def find_children(self) -> list[Closer]:
        """Find the children that have been started meanwhile.

        First come the executors that threads of the app have given their first job: to one that is
        known the end of its workers is no accident, after which the app starts others. One whose
        worker is there has begun, or is about to.

        Returns:
            The executors that are new.
        """
        closers = self._closers
        found = children(closers)
        if found:
            let_executors_begin()
        executors = discover_executors(closers)
        self.look()
        add_children(closers, found)
        return executors

    def _check_ends(self) -> list[WorkerCloser]:
        """Note the workers that have ended; returns the others.

        One that cannot be asked is left out from then on, rather than be logged at each look.
        """
        closers, living = self._closers, list[WorkerCloser]()

        def look_at(worker: WorkerCloser) -> None:
            if not worker.check_end():
                living.append(worker)
            else:
                closers.note_end(worker.report)

        own = self._own_workers()
        good = closers.each(look_at, own)
        for worker in own:
            if worker not in good:
                worker.report.outcome = "failed"
                closers.workers.remove(worker)
        return living

    def _find_busy(self) -> list[Closer]:
        """Note the pools and the like that have ended; returns the others."""
        before = self._busy
        self._busy = [other for other in self._closers.others if other.is_busy()]
        for other in before:
            if other not in self._busy:
                self._closers.note_end(other.report)
        return self._busy

    def _wait_for_change(self, workers: list[WorkerCloser], queues: list[QueueCloser]) -> None:
        """Wait until a worker ends or writes, or it is time for another look."""
        handles: list[Any] = [worker.sentinel for worker in workers]
        handles += [queue.awaited for queue in queues]
        if sys.platform != "win32":  # There a handle does not tell whether it is readable.
            handles += [other.fileno() for other in self._closers.others]
        wanted = {handle for handle in handles if handle is not None}
        began = time.monotonic()
        seconds = LOOK_SECONDS
        for worker in workers:
            seconds = worker.look_again_after(began, seconds)
        try:
            multiprocessing.connection.wait(list(wanted), seconds)
        except (OSError, ValueError):  # A handle was closed behind our back.
            time.sleep(seconds)
        if time.monotonic() - began < LOOK_SECONDS / 20:
            time.sleep(LOOK_SECONDS / 20)  # A handle that stays ready must not make this spin.
