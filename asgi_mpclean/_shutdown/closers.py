"""The closers of one clean-up, by what they need: queues, workers, and all others."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, TypeVar

from asgi_mpclean._cpython.semaphores import Snapshot
from asgi_mpclean._items.delivery import Deliveries
from asgi_mpclean._items.runner import Runner
from asgi_mpclean._report import CleanupReport, ResourceReport
from asgi_mpclean._resources.base import Context
from asgi_mpclean._resources.queue import QueueCloser
from asgi_mpclean._resources.worker import WorkerCloser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asgi_mpclean._resources.base import Closer, Entry

    from .request import Request

    T = TypeVar("T", QueueCloser, Closer, WorkerCloser)

logger = logging.getLogger("asgi_mpclean")


def _ends_last(closer: Closer) -> bool:
    return closer.ends_last


class Closers:
    """All closers of a clean-up, and what they share.

    Args:
        request: What is asked for.
    """

    def __init__(self, request: Request) -> None:
        self.start = request.start
        self.deadline = request.start + request.timeout
        self.report = CleanupReport(trigger=request.trigger, timeout=request.timeout)
        self.runner = Runner(self.deadline)
        self.deliveries = Deliveries(self.runner)
        self.snapshot = Snapshot()
        self.queues: list[QueueCloser] = []
        self.lenders: list[QueueCloser] = []
        self.workers: list[WorkerCloser] = []
        self.others: list[Closer] = []
        # The semaphores to unlink, with the report that counts them.
        self.semaphores: list[tuple[ResourceReport, list[str]]] = []
        self._context = Context(self.runner, self.deliveries, self.snapshot, request.going_away)

    def add(self, entry: Entry) -> None:
        """Make the closer of a resource; if that fails, log it and leave the resource out."""
        try:
            self._add(entry)
        except Exception:  # a subclass can do anything
            kind, name = entry.kind.name, entry.name
            logger.warning("%s %s: clean-up failed", kind, name, exc_info=True)

    def _add(self, entry: Entry) -> None:
        report = ResourceReport(
            entry.name, type(entry.resource).__name__, registered=entry.registered
        )
        self.report.resources.append(report)
        closer: Any = entry.kind.closer(entry, report, self._context)
        if isinstance(closer, WorkerCloser):
            self.workers.append(closer)
            return
        if isinstance(closer, QueueCloser):
            self.queues.append(closer)
        else:
            self.others.append(closer)
            self.others.sort(key=_ends_last)
        self.semaphores.append((report, closer.names))

    def lend(self, entry: Entry) -> None:
        """Have a queue make room, where that is all that a worker waits for."""
        report = ResourceReport(entry.name, type(entry.resource).__name__)
        self.lenders.append(entry.kind.closer(entry, report, self._context))

    def end_lending(self, queue: QueueCloser) -> None:
        """Report a queue that has made room."""
        queue.end_lending()
        if queue.report.delivered or queue.report.dropped:
            self.report.resources.append(queue.report)

    def each(self, step: Callable[[T], object], closers: Iterable[T]) -> list[T]:
        """Take one step with each closer; an exception of one does not stop the others.

        Returns:
            The closers that raised nothing.
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

    def note_end(self, report: ResourceReport) -> None:
        """Note when a resource was done with."""
        report.seconds = report.seconds or time.monotonic() - self.start
