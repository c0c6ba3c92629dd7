"""Queues: what is in one goes to `on_item`, in order, and its feeder thread is left alone.

The order of the items of a queue is: what is in the pipe; the item in the feeder's hand, which is
on its way into the pipe; the backlog, which the feeder had not begun with.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.queues import (
    backlog_size,
    close_queue,
    drop_puts,
    feeder_is_idle,
    is_closed,
    items_fill,
    leave_feeder,
    never_put,
    take_backlog,
    unpickle_of,
    wake_joiners,
)
from asgi_mpclean._cpython.relatives import unlink_semaphores_of
from asgi_mpclean._cpython.semaphores import Snapshot, semaphore_names_of
from asgi_mpclean._items.delivery import Delivery

from .base import ITEMS, Kind, always
from .drain import (
    NEARLY_FULL_BYTES,
    STALLED_SECONDS,
    QueueDrain,
)
from .dropped import is_spent, let_go
from .last_read import LastRead

if TYPE_CHECKING:
    from asgi_mpclean._items.delivery import Sink
    from asgi_mpclean._report import ResourceReport

    from .base import Context, Entry

logger = logging.getLogger("asgi_mpclean")


class QueueCloser:
    """Takes one queue through a clean-up.

    Args:
        queue: A Queue, JoinableQueue or SimpleQueue of multiprocessing.
        report: What is written into.
        delivery: Where its items go.
        snapshot: Who made what.
        semaphores: The names of its semaphores, if they are known.
    """

    def __init__(
        self,
        queue: Any,
        report: ResourceReport,
        delivery: Sink,
        snapshot: Snapshot,
        semaphores: list[str] | None = None,
    ) -> None:
        self.queue = queue
        self.report = report
        self.delivery = delivery
        self.owned = snapshot.owns(queue)
        if semaphores is None:
            semaphores = semaphore_names_of(queue)
        self.names = semaphores if self.owned else []
        self.was_closed = is_closed(queue)
        self.is_left_to_workers = False  # They have been asked to work it off.
        self.carries_log = False  # It is left to who reads it, until all else is done.
        # For who waits for the workers: when they last wrote something here, and what becomes
        # readable when they do.
        self.last_output = 0.0
        self.awaited: Any | None = None
        self._drain = QueueDrain(queue, delivery)
        self._backlog: list[Any] = []
        self._full = 0, 0.0  # the bytes of a queue that has been full, since when

    # Before and while the workers end ----------------------------------------------------------

    def ignore_sentinels(self) -> None:
        """Take each None for a sentinel that no worker has needed, not for an item."""
        self._drain.ignore_sentinels = True

    def take_backlog(self) -> None:
        """Take what the feeder has not begun to send; a copy's belongs to its other users."""
        if self.owned and not self.is_left_to_workers and not self.carries_log:
            self._backlog += self._take_backlog()

    def _take_backlog(self) -> list[Any]:
        items = take_backlog(self.queue)
        if items:
            self._drain.free_slots(len(items))
        if self._drain.ignore_sentinels:
            items = [item for item in items if item is not None]
        return items

    def fileno(self) -> int | None:
        """Return the descriptor that is readable when there is something to read."""
        return self._drain.fileno() if self.owned else None

    def read_some(self, wait: float = 0.0) -> bool:
        """Read what is there, unless a live reader holds the lock; tells whether anything was.

        Args:
            wait: Seconds to wait for a reader that is just taking something.
        """
        if not self.owned or self.is_left_to_workers or self.carries_log:
            return False
        drain = self._drain
        if not drain.take_lock(wait if wait > 0 and drain.bytes_ready() else 0.0):
            return False
        before = drain.moves
        try:
            drain.read()
        finally:
            drain.give_lock()
        return drain.moves > before

    def make_room(self) -> None:
        """Read what is there if that may keep a worker from ending, and note how it went."""
        self.awaited = None
        if self.is_left_to_workers or self.carries_log:
            return
        ready = self._drain.bytes_ready() if self.owned else 0
        # Others put and this process reads: it has to go on, or they block instead of ending. What
        # a `stop` puts is for a worker, which may not have begun to read.
        filled_by_others = never_put(self.queue, unknown=not self._drain.ignore_sentinels)
        if filled_by_others or ready >= NEARLY_FULL_BYTES:
            if self._drain.is_held_back:
                self.delivery.make_room()
            if self.read_some():
                self.last_output = time.monotonic()
            elif self.owned and self._drain.bytes_ready():
                return
        if filled_by_others and not self._drain.is_at_end:
            self.awaited = self._drain.awaitable() if self.owned else None

    def lend_room(self) -> None:
        """Read a queue that is full and that nobody reads: a worker may wait for room in it."""
        ready = self._drain.bytes_ready()
        is_full = ready >= NEARLY_FULL_BYTES or (ready and items_fill(self.queue))
        bytes_before, since = self._full
        if not is_full or ready != bytes_before:
            self._full = ready, time.monotonic()
        elif time.monotonic() - since >= STALLED_SECONDS:
            self.read_some()

    def end_lending(self) -> None:
        """Report what was read to make room; the queue stays as it is."""
        self._drain.end()
        self.delivery.end()
        self.report.outcome = "made room"

    def leave(self) -> None:
        """Read no more, and leave the rest to the others that use it."""
        self._drain.end()

    def left_to_read(self) -> tuple[int, int]:
        """Return how many items the feeder has to send, and how many bytes are in the pipe."""
        unsent = backlog_size(self.queue) + (feeder_is_idle(self.queue, 0.0) is False)
        return unsent, self._drain.bytes_ready()

    def is_being_read(self) -> bool:
        """Tell whether somebody holds the readers' lock, as who waits for an item does."""
        taken = self._drain.take_lock(0.0)
        if taken:
            self._drain.give_lock()
        return not taken

    # When the workers have ended ---------------------------------------------------------------

    def finish(self, until: float | None, *, users_ended: bool) -> bool:
        """Read the queue empty, then deliver its backlog.

        Args:
            until: `time.monotonic()` at which to give up; None to wait for nothing.
            users_ended: No other process uses the queue: a lock that is held is abandoned.

        Returns:
            Whether that was all. If not, as something has to be waited for, what is in the pipe has
            been read all the same, so that nobody waits for room in it.
        """
        if until is None:
            return self.owned and self._finish_at_rest(users_ended=users_ended)
        if self.owned:
            self._finish_moving(until, users_ended=users_ended)
        else:
            self._last_read().flush(until)
        return True

    def _finish_at_rest(self, *, users_ended: bool) -> bool:
        self._backlog += self._take_backlog()
        if not self._drain.take_lock(0.0):
            return False
        # First the feeder, then the pipe: what an idle feeder has sent is in the pipe.
        idle = feeder_is_idle(self.queue, 0.0)
        moved = self._drain.read()
        if self._drain.is_torn:
            return False  # Nobody else can read on from here.
        self._drain.give_lock()
        if not idle or (moved and not users_ended) or self._drain.is_corrupt:
            return False
        if (moved or self._drain.is_held_back) and self._drain.has_more():
            return False
        self._deliver_backlog()
        return True

    def _finish_moving(self, until: float, *, users_ended: bool) -> None:
        last = self._last_read()
        try:
            last.read(until, users_ended=users_ended)
        finally:
            corrupt = self._drain.is_corrupt
            self._drain.end()
        self._backlog += self._take_backlog()
        self._deliver_backlog()
        if corrupt:
            # A reader died in mid-frame. Nothing tells the items apart, but `put` has counted them.
            last.count_items_left()

    def _last_read(self) -> LastRead:
        return LastRead(self.queue, self.report, self.delivery, self._drain)

    def _deliver_backlog(self) -> None:
        self.delivery.add_items(self._backlog)
        self._backlog = []

    # At the end --------------------------------------------------------------------------------

    def release(self, *, going_away: bool) -> None:
        """Give back what draining took, and see to it that nobody waits for the feeder.

        Args:
            going_away: The process ends next: its threads end with it.
        """
        self._drain.end()
        if self.was_closed:
            self.report.outcome = "already closed"
        else:
            self.report.outcome = "closed" if self.owned else "copy closed"
        leave_feeder(self.queue, forget=going_away)
        if self.owned:
            wake_joiners(self.queue)
            if not going_away:
                unlink_semaphores_of(self.queue)

    def leave_open(self, *, is_read: bool) -> None:
        """Let the app go on putting into it, as nobody can know that it will not.

        Args:
            is_read: A thread of this process reads it; otherwise what is put may never be sent.
        """
        self._drain.end()
        self.report.outcome = "already closed" if self.was_closed else "left open"
        if not is_read:
            leave_feeder(self.queue, forget=False)

    def close(self) -> None:
        """Close the queue; its feeder is told to end and not waited for."""
        close_queue(self.queue, STALLED_SECONDS)

    def close_for_exit(self) -> None:
        """Do what closing has to do when descriptors end with the process.

        Threads of the app may still use the queue: it is not closed under them.
        """
        if self.was_closed:
            self.close()  # The app may wait for the feeder, whose sentinel was in the backlog.

    def refuse_puts(self) -> None:
        """Let `put` drop what it is given, and warn once, if the app has not closed the queue."""
        if self.report.registered and not self.was_closed:
            what = self.report.kind, self.report.name
            note = "%s %s: what is put after its clean-up is dropped"
            drop_puts(self.queue, lambda: logger.warning(note, *what))


def _make(entry: Entry, report: ResourceReport, context: Context) -> QueueCloser:
    unpickle = unpickle_of(entry.resource)
    delivery = Delivery(report, entry.on_item, context.deliveries, unpickle)
    return QueueCloser(entry.resource, report, delivery, context.snapshot, entry.semaphores)


QUEUE = Kind(
    "queue",
    (
        "multiprocessing.queues.Queue",
        "multiprocessing.queues.SimpleQueue",
        # With dill; the semaphores of a SimpleQueue, which would tell whose it is, are its own.
        "multiprocess.queues.Queue",
    ),
    _make,
    options=ITEMS,
    is_spent=is_spent,
    is_held=always,
    let_go=let_go,
)
