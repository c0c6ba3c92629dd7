"""The shutdown plan: what is done to everything, in which order, under one deadline.

    take the backlogs -> ask the workers -> read while they end -> terminate -> kill
    -> read what is left -> unlink, while it is delivered -> close -> report

It runs in the thread that triggered it, which may be the main thread inside a signal handler: it
takes no lock without a limit, and calls no code of the user itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from . import _cpython
from ._callbacks import Caller, Delivery
from ._closers import Closer
from ._kinds import PROCESS, QUEUE, Entry, kind_of
from ._pools import ManagerCloser
from ._queues import QueueCloser
from ._report import CleanupReport, ResourceReport
from ._workers import TERMINATE_AT, WorkerCloser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T", QueueCloser, Closer)

logger = logging.getLogger("asgi_mpclean")

# The longest time (seconds) between two looks at the workers.
TICK = 0.02
# The last part of the time allowed is kept for reading, closing and unlinking.
WORKERS_UNTIL = 0.92
# The time (seconds) that the fork server may take to end, so that its files can be removed.
FORK_SERVER = 0.2
# So many feeders are ended at once; more would hold up the caller and are ended behind its back.
FEEDERS_AT_ONCE = 16


class Plan:
    """One clean-up.

    Args:
        entries: What is to be cleaned up.
        trigger: What started it, for the report.
        start: `time.monotonic()` when it was triggered.
        timeout: Seconds it may take from then on.
        discover: Clean up also what nobody registered.
        going_away: The process ends next: its threads and descriptors end with it.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        *,
        trigger: str,
        start: float,
        timeout: float,
        discover: bool,
        going_away: bool,
    ) -> None:
        self.start = start
        self.timeout = timeout
        self.deadline = self.start + timeout
        # What cannot be delivered in time has to be counted in time.
        self.margin = min(0.05 * timeout, 0.1)
        self.discover = discover
        self.going_away = going_away
        self.report = CleanupReport(trigger=trigger, timeout=timeout)
        self.snapshot = _cpython.Snapshot()
        self.caller = Caller(self.deadline)
        self.queues: list[QueueCloser] = []
        self.workers: list[WorkerCloser] = []
        self.others: list[Closer] = []
        self._names: list[tuple[ResourceReport, list[str]]] = []
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        try:
            self._make_closer(entry)
        except Exception:  # a subclass can do anything
            kind, name = entry.kind.name, entry.name
            logger.warning("%s %s: clean-up failed", kind, name, exc_info=True)

    def _make_closer(self, entry: Entry) -> None:
        report = ResourceReport(
            entry.name, type(entry.resource).__name__, registered=entry.registered
        )
        self.report.resources.append(report)
        if entry.kind is PROCESS:
            self.workers.append(WorkerCloser(entry.resource, report, entry.stop))
        elif entry.kind is QUEUE:
            delivery = Delivery(report, entry.on_item, self.caller)
            queue = QueueCloser(entry.resource, report, delivery, self.snapshot)
            self.queues.append(queue)
            self._names.append((report, queue.names))
        elif entry.kind.closer is not None:
            closer = entry.kind.closer(entry, report, self.caller, self.snapshot)
            self.others.append(closer)
            self._names.append((report, closer.names))
        else:
            owned = self.snapshot.owns(entry.resource)
            report.outcome = "unlinked" if owned else "copy closed"
            names = _cpython.semaphore_names_of(entry.resource) if owned else []
            self._names.append((report, names))

    def run(self) -> CleanupReport:
        """Do it; returns what was done."""
        if self.discover:
            self._discover()
        self._each(QueueCloser.take_backlog, self.queues)
        self._ask()
        self._wait_for_workers()
        self._empty_queues()
        self._unlink()
        self._wait_for_delivery()
        if self.discover:
            self._unlink_rest()
        self._close()
        if self.discover and self.going_away:
            _cpython.remove_files(FORK_SERVER)
        self.report.seconds = time.monotonic() - self.start
        self.report.deadline_passed = self.report.seconds > self.timeout
        return self.report

    def _each(self, step: Callable[[T], object], closers: Iterable[T]) -> list[T]:
        """Take one step with each; one that goes wrong does not stop the rest.

        Returns:
            Those that it went well with.
        """
        good = []
        for closer in closers:
            try:
                step(closer)
            except Exception:  # noqa: PERF203 - a subclass can do anything
                report = closer.report
                logger.warning("%s %s: clean-up failed", report.kind, report.name, exc_info=True)
            else:
                good.append(closer)
        return good

    # What nobody registered ---------------------------------------------------------------------

    def _discover(self) -> None:
        known = {id(entry.queue) for entry in self.queues}
        for queue in _cpython.queues_made_here():
            if id(queue) not in known and not _cpython.belongs_to_executor(queue):
                self._add_discovered(queue)
        known = {id(closer.resource) for closer in self.others}
        known |= {id(getattr(closer.resource, "shm", None)) for closer in self.others}
        for find in (
            _cpython.pools_and_managers,
            _cpython.live_executors,
            _cpython.shared_memory_made_here,
        ):
            for resource in find():
                if id(resource) not in known:
                    self._add_discovered(resource)
        self._look()
        self._discover_children()

    def _add_discovered(self, resource: Any) -> None:
        if _cleaned.get(id(resource)) is not resource:
            name = f"unregistered {len(self.report.resources) + 1}"
            kind = QUEUE if isinstance(resource, _cpython.UnreferencedQueue) else kind_of(resource)
            self._add(Entry(resource, kind, name, registered=False))

    def _discover_children(self) -> None:
        known = {id(worker.process) for worker in self.workers}
        for process in self._children():
            if id(process) not in known:
                self._add(Entry(process, PROCESS, process.name, registered=False))

    # Workers ------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._each(lambda other: other.ask(), self.others)
        stoppable = [
            (worker, worker.stop) for worker in self.workers if worker.stop and not worker.ended
        ]
        if not stoppable:
            return
        # Jobs that nobody has begun are delivered, not worked off.
        self._each(QueueCloser.read_some, self.queues)
        for worker, stop in stoppable:
            worker.asked = True
            self.caller.call(stop, f"stop of {worker.report.name}")
        for queue in self.queues:
            queue.ignore_sentinels = True

    def _wait_for_workers(self) -> None:
        began = time.monotonic()
        until = self.start + WORKERS_UNTIL * self.timeout
        queues = self.queues
        while (living := self._living_workers()) or self._any_busy():
            if time.monotonic() >= until:
                break
            queues = self._each(QueueCloser.make_room, queues)
            last_output = max([began, *(queue.last_output for queue in queues)])
            if time.monotonic() >= self.start + TERMINATE_AT * self.timeout:
                self._each(lambda other: other.force(), self.others)
            for worker in living:
                worker.escalate(self.start, last_output, self.timeout)
            self.caller.help_out()
            self._wait_for_change(living, queues)
        for worker in self.workers:
            worker.give_up()

    def _living_workers(self) -> list[WorkerCloser]:
        self._look()
        living = [worker for worker in self.workers if not worker.ended]
        if not living and self.discover:
            self._discover_children()
            living = [worker for worker in self.workers if not worker.ended]
        return living

    def _look(self) -> None:
        """Help pools and the like on, and find workers that they have started since."""
        self._each(lambda other: self.workers.extend(other.look()), self.others)

    def _any_busy(self) -> bool:
        return any(other.is_busy for other in self.others)

    def _wait_for_change(self, workers: list[WorkerCloser], queues: list[QueueCloser]) -> None:
        """Wait until a worker ends or writes, or it is time for another look."""
        handles = [worker.sentinel for worker in workers]
        if sys.platform != "win32":
            handles += [queue.awaited for queue in queues]
            handles += [other.fileno() for other in self.others]
        wanted = {handle for handle in handles if handle is not None}
        began = time.monotonic()
        try:
            multiprocessing.connection.wait(list(wanted), TICK)
        except (OSError, ValueError):  # A handle was closed behind our back.
            time.sleep(TICK)
        if time.monotonic() - began < TICK / 20:
            time.sleep(TICK / 20)  # What is ready and does not change must not make this spin.

    # Queues, and what the workers have used -----------------------------------------------------

    def _empty_queues(self) -> None:
        users_ended = not any(process.is_alive() for process in self._children())
        self._each(QueueCloser.free_feeder, self.queues)  # All, before any is waited for.
        until = self.deadline - self.margin
        with self.caller.batch():
            self._each(lambda queue: queue.finish(until, users_ended=users_ended), self.queues)
        self._each(lambda other: other.finish(), self.others)

    def _wait_for_delivery(self) -> None:
        self.caller.wait(self.deadline - self.margin / 2)
        self._each(lambda queue: queue.delivery.end(), self.queues)
        self._each(lambda other: other.end(), self.others)
        self.caller.close()

    def _children(self) -> list[Any]:
        """Return the child processes, less those that serve others and are ended last."""
        servers = {id(other.process) for other in self.others if isinstance(other, ManagerCloser)}
        children = multiprocessing.active_children()
        return [c for c in children if _cpython.is_child(c) and id(c) not in servers]

    def _close(self) -> None:
        for queue in self.queues:
            _cleaned[id(queue.queue)] = queue.queue
        for closer in self.others:
            _cleaned[id(closer.resource)] = closer.resource
            closer.report.seconds = time.monotonic() - self.start
        self._each(self._release, self.queues)
        if self.going_away:
            readers = _cpython.threads_in_get()
            self._each(
                lambda queue: queue.close_for_exit(readers.get(id(queue.queue), [])), self.queues
            )
        elif len(self.queues) <= FEEDERS_AT_ONCE or not self._close_in_background():
            self._each(QueueCloser.close, self.queues)

    def _close_in_background(self) -> bool:
        closing = threading.Thread(
            target=_close_one_by_one, args=(self.queues,), name="asgi_mpclean", daemon=True
        )
        try:
            closing.start()
        except RuntimeError:  # The interpreter is ending.
            return False
        return True

    def _release(self, queue: QueueCloser) -> None:
        queue.release(going_away=self.going_away)
        queue.report.seconds = time.monotonic() - self.start

    def _unlink(self) -> None:
        names: list[str] = []
        for report, own in self._names:
            claimed = self.snapshot.claim(own)
            report.semaphores += len(claimed)
            names += claimed
        _cpython.unlink(names)

    def _unlink_rest(self) -> None:
        snapshot = _cpython.Snapshot()
        names = snapshot.claim(snapshot.names)
        self.report.unlisted_semaphores = len(names)
        _cpython.unlink(names)


# What has been cleaned up, by its id, is not discovered once more by the next trigger.
_cleaned: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def _close_one_by_one(queues: list[QueueCloser]) -> None:
    for queue in queues:
        feeder = _cpython.feeder(queue.queue)
        queue.close()
        if feeder is not None:
            feeder.join(1)  # A thousand of them at once would keep everybody else from running.
