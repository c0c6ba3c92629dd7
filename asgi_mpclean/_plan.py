"""The shutdown plan: what is done to everything, in which order, under one deadline.

    take the backlogs -> ask the workers -> read while they end -> terminate -> kill
    -> read what is left -> unlink, while it is delivered -> close -> report

It runs in the thread that triggered it, which may be the main thread inside a signal handler: it
takes no lock without a limit, and calls no code of the user itself.
"""

from __future__ import annotations

import _thread
import logging
import multiprocessing
import multiprocessing.connection
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

from . import _cpython, _descendants
from ._asking import WorkOff
from ._callbacks import Caller
from ._closers import Closer, note_cleaned, was_cleaned
from ._delivery import Delivery
from ._kinds import PROCESS, QUEUE, Entry, global_names, kind_of
from ._pools import ManagerCloser
from ._queues import QueueCloser
from ._report import CleanupReport, ResourceReport
from ._workers import TERMINATE_AT, WorkerCloser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T", QueueCloser, Closer)

logger = logging.getLogger("asgi_mpclean")

# The longest time (seconds) between two looks at the workers.
TICK = 0.02
# The last part of the time allowed is kept for reading, closing and unlinking.
WORKERS_UNTIL = 0.92
# The time (seconds) that workers get once somebody insists: gunicorn kills two seconds after that.
INSISTED = 1.5
# The time (seconds) that workers get for taking what they are just taking from a queue.
TAKING = 0.2
# The time (seconds) that the fork server may take to end, so that its files can be removed.
FORK_SERVER = 0.2
# So many feeders are ended at once; more would hold up the caller and are ended behind its back.
FEEDERS_AT_ONCE = 16
# What finds, apart from queues and processes, what nobody registered.
FINDERS = (
    _cpython.pools_and_managers,
    _cpython.live_executors,
    _cpython.shared_memory_made_here,
)


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
        # From when on the workers get how many seconds.
        self._workers_time = self.start, timeout
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
        self._busy: list[Closer] = []
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
            queue = QueueCloser(entry.resource, report, delivery, self.snapshot, entry.semaphores)
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

    def hurry(self) -> None:
        """Give the workers less time from now on; from another thread or a signal handler."""
        now = time.monotonic()
        if now + INSISTED < self.deadline:
            self._workers_time = now, INSISTED

    def run(self) -> CleanupReport:
        """Do it; returns what was done."""
        for step in self._steps():
            try:
                step()
            except Exception:  # noqa: PERF203 - one that goes wrong does not stop the rest
                logger.warning("a step of the clean-up failed", exc_info=True)
        self.report.seconds = time.monotonic() - self.start
        self.report.deadline_passed = self.report.seconds > self.timeout
        return self.report

    def _steps(self) -> Iterator[Callable[[], None]]:
        if self.discover:
            yield self._discover
        if self.workers or self.others or self.discover:
            yield self._leave_what_is_worked_off
            yield self._take_backlogs
            yield self._ask
            yield self._wait_for_workers
        yield self._empty_queues
        yield self._unlink
        yield self._wait_for_delivery
        if self.discover:
            yield self._unlink_rest
        yield self._close
        if self.discover and self.going_away:
            yield self._remove_files

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
        for find in FINDERS:
            for resource in find():
                if id(resource) not in known:
                    self._add_discovered(resource)
        self._look()
        self._discover_children()

    def _add_discovered(self, resource: Any) -> None:
        if not was_cleaned(resource):
            name = f"unregistered {len(self.report.resources) + 1}"
            kind = QUEUE if isinstance(resource, _cpython.UnreferencedQueue) else kind_of(resource)
            self._add(Entry(resource, kind, name, registered=False))

    def _discover_children(self) -> None:
        known = {id(worker.process) for worker in self.workers}
        for process in self._children():
            if id(process) not in known:
                self._add(Entry(process, PROCESS, process.name, registered=False))

    # Workers ------------------------------------------------------------------------------------

    def _leave_what_is_worked_off(self) -> None:
        stops = [worker.stop for worker in self.workers if not worker.ended]
        worked_off = {id(stop.queue) for stop in stops if isinstance(stop, WorkOff)}
        for queue in self.queues:
            queue.is_left_to_workers = id(queue.queue) in worked_off

    def _take_backlogs(self) -> None:
        self._each(QueueCloser.take_backlog, self.queues)

    def _ask(self) -> None:
        self._each(lambda other: other.ask(), self.others)
        stoppable = [
            (worker, worker.stop) for worker in self.workers if worker.stop and not worker.ended
        ]
        if not stoppable:
            return
        # Jobs that nobody has begun are delivered, not worked off.
        until = time.monotonic() + TAKING
        self._each(lambda queue: queue.read_some(until - time.monotonic()), self.queues)
        for worker, stop in stoppable:
            worker.asked = True
            self.caller.call(stop, f"stop of {worker.report.name}")
        for queue in self.queues:
            queue.ignore_sentinels = True

    def _wait_for_workers(self) -> None:
        began = time.monotonic()
        queues = self.queues
        while (living := self._living_workers()) or self._any_busy():
            start, timeout = self._workers_time
            if time.monotonic() >= start + WORKERS_UNTIL * timeout:
                break
            queues = self._each(QueueCloser.make_room, queues)
            last_output = max([began, *(queue.last_output for queue in queues)])
            if time.monotonic() >= start + TERMINATE_AT * timeout:
                self._each(lambda other: other.force(), self.others)
            for worker in living:
                worker.escalate(start, last_output, timeout)
            self.caller.help_out()
            self._wait_for_change(living, queues)
        for queue in self.queues:
            queue.is_left_to_workers = False
        for worker in self.workers:
            worker.give_up()
            self._note_end(worker.report)

    def _living_workers(self) -> list[WorkerCloser]:
        self._look()
        living = self._not_ended()
        if not living and self.discover:
            self._discover_children()
            living = self._not_ended()
        return living

    def _not_ended(self) -> list[WorkerCloser]:
        living = []
        for worker in self.workers:
            if not worker.ended:
                living.append(worker)
            else:
                self._note_end(worker.report)
        return living

    def _note_end(self, report: ResourceReport) -> None:
        report.seconds = report.seconds or time.monotonic() - self.start

    def _look(self) -> None:
        """Help pools and the like on, and find workers that they have started since."""
        self._each(lambda other: self.workers.extend(other.look()), self.others)

    def _any_busy(self) -> bool:
        before, self._busy = self._busy, [other for other in self.others if other.is_busy]
        for other in before:
            if other not in self._busy:
                self._note_end(other.report)
        return bool(self._busy)

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
        until = self.deadline - self.margin
        self.caller.hold_back()
        moving: list[QueueCloser] = []  # All are read, before any is waited for.

        def look(queue: QueueCloser) -> None:
            if not queue.finish_at_rest(users_ended=users_ended):
                moving.append(queue)

        self._each(look, self.queues)
        self._each(lambda queue: queue.finish(until, users_ended=users_ended), moving)
        self.caller.begin()
        self._each(lambda other: other.finish(), self.others)

    def _wait_for_delivery(self) -> None:
        self.caller.close()
        self.caller.wait(self.deadline - self.margin / 2)
        self._each(lambda queue: queue.delivery.end(), self.queues)
        self._name_unregistered()
        self._each(lambda other: other.end(), self.others)

    def _name_unregistered(self) -> None:
        """Let those that lost something be called by what the app calls them."""
        lossy = [q for q in self.queues if q.report.dropped and not q.report.registered]
        names = global_names(queue.queue for queue in lossy)
        for queue in lossy:
            queue.report.name = names.get(id(queue.queue), queue.report.name)

    def _children(self) -> list[Any]:
        """Return the child processes, less those that serve others and are ended last."""
        servers = {id(other.process) for other in self.others if isinstance(other, ManagerCloser)}
        # Those whose fork server has died only seem to have ended.
        children = [c for c in _cpython.ended_children() if _descendants.of_fork_server(c.pid)]
        children += multiprocessing.active_children()
        return [c for c in children if _cpython.is_child(c) and id(c) not in servers]

    def _close(self) -> None:
        for closer in self.others:
            note_cleaned(closer.resource)
            self._note_end(closer.report)
        self._each(self._release, self.queues)
        if self.going_away:
            readers = _cpython.threads_in_get()
            self._each(
                lambda queue: queue.close_for_exit(readers.get(id(queue.queue), [])), self.queues
            )
        elif len(self.queues) <= FEEDERS_AT_ONCE or not self._close_in_background():
            self._each(QueueCloser.close, self.queues)

    def _close_in_background(self) -> bool:
        try:
            _thread.start_new_thread(_close_one_by_one, (self.queues,))
        except RuntimeError:  # The interpreter is ending.
            return False
        return True

    def _release(self, queue: QueueCloser) -> None:
        note_cleaned(queue.queue)
        queue.release(going_away=self.going_away)
        self._note_end(queue.report)

    def _unlink(self) -> None:
        names: list[str] = []
        for report, own in self._names:
            claimed = self.snapshot.claim(own)
            report.semaphores += len(claimed)
            names += claimed
        _cpython.unlink(names)

    def _remove_files(self) -> None:
        _cpython.remove_files(FORK_SERVER)

    def _unlink_rest(self) -> None:
        snapshot = _cpython.Snapshot()
        names = snapshot.claim(snapshot.names)
        self.report.unlisted_semaphores = len(names)
        _cpython.unlink(names)


def _close_one_by_one(queues: list[QueueCloser]) -> None:
    for queue in queues:
        feeder = _cpython.feeder(queue.queue)
        queue.close()
        if feeder is not None:
            feeder.join(1)  # A thousand of them at once would keep everybody else from running.
