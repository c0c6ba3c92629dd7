"""Queues that a manager serves: emptied while its server lives, which ends after them."""

from __future__ import annotations

import queue
from typing import Any

from asgi_mpclean._items.delivery import Delivery

from .base import ITEMS, Closer, Kind

# What a proxy says when the server of its manager is gone, and the items with it.
GONE = (ConnectionError, EOFError, FileNotFoundError, AttributeError)


class ManagedQueueCloser(Closer):
    """Takes a queue of a manager through a clean-up."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._delivery = Delivery(self.report, self.on_item, self.context.deliveries)
        self._left = 0
        self._outcome = "still running"

    def finish(self) -> None:
        """Begin to empty it, as the workers have used it until now."""
        self.call(self._empty if self.report.registered else self._count, "emptying")

    def _empty(self) -> None:
        try:
            while True:
                self._delivery.deliver_here([self.resource.get_nowait()])
        except queue.Empty:
            self._outcome = "closed"
        except GONE:
            self._outcome = "already closed"

    def _count(self) -> None:
        try:
            self._left = self.resource.qsize()
            self._outcome = "closed"
        except GONE:
            self._outcome = "already closed"

    def end(self) -> None:
        """Count the items that were delivered, or end with the manager."""
        self._delivery.end()
        self.report.dropped += self._left
        self.report.outcome = self._outcome


MANAGED_QUEUE = Kind(
    "queue of a manager",
    (
        "multiprocessing.managers.AutoProxy[Queue]",
        "multiprocessing.managers.AutoProxy[JoinableQueue]",
    ),
    ManagedQueueCloser,
    options=ITEMS,
)
