"""Queues: what is in one goes to `on_item`, in order, and its feeder thread is left alone.

The order of the items of a queue is: what is in the pipe; the item in the feeder's hand, which is
on its way into the pipe; the backlog, which the feeder had not begun with.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.discovery import threads_in_get
from asgi_mpclean._cpython.queues import (
    backlog_size,
    close_pipe,
    close_queue,
    feeder,
    feeder_is_idle,
    force_write_lock,
    is_closed,
    items_in_flight,
    leave_feeder,
    never_put,
    seal_queue,
    take_backlog,
    wake_joiners,
)
from asgi_mpclean._cpython.semaphores import semaphore_names_of
from asgi_mpclean._items.delivery import Delivery
from asgi_mpclean._items.pipe import bytes_in_pipe

from .base import ITEMS, Kind, is_unused
from .drain import NEARLY_FULL_BYTES, PIPE_TICK_SECONDS, STALLED_SECONDS, QueueDrain

if TYPE_CHECKING:
    import threading

    from asgi_mpclean._cpython.semaphores import Snapshot
    from asgi_mpclean._items.delivery import Sink
    from asgi_mpclean._report import ResourceReport

    from .base import Context, Entry

# How long (seconds) the lock of a dead writer may stand before it is broken.
ABANDONED_SECONDS = 0.3


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
        # Others put and this process reads: it has to go on, or they block instead of ending.
        self.is_filled_by_others = never_put(queue)
        self.is_left_to_workers = False  # The workers have been asked to do all the jobs in it.
        # For the wait for the workers: when one last wrote to this queue, and the descriptor that
        # becomes readable when one does.
        self.last_output = 0.0
        self.awaited: int | None = None
        self._drain = QueueDrain(queue, delivery)
        self._backlog: list[Any] = []

    # Before and while the workers end ----------------------------------------------------------

    def ignore_sentinels(self) -> None:
        """Take each None for a sentinel that no worker has needed, not for an item."""
        self._drain.ignore_sentinels = True

    def take_backlog(self) -> None:
        """Take the items that the feeder has not begun to send, unless this is a copy."""
        if self.owned and not self.is_left_to_workers:
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
        if not self.owned or self.is_left_to_workers:
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
        if self.is_left_to_workers:
            return
        ready = self._drain.bytes_ready() if self.owned else 0
        if self.is_filled_by_others or ready >= NEARLY_FULL_BYTES:
            if self.read_some():
                self.last_output = time.monotonic()
            elif self.owned and self._drain.bytes_ready():
                return
        if self.is_filled_by_others and not self._drain.is_at_end:
            self.awaited = self.fileno()

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
            self._flush(until)
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
        self._deliver_backlog()
        return True

    def _finish_moving(self, until: float, *, users_ended: bool) -> None:
        drain = self._drain
        try:
            if drain.take_lock(0.0 if users_ended else min(STALLED_SECONDS, _remaining(until))) or (
                self._readers_are_gone(until, users_ended=users_ended) and drain.read_without_lock()
            ):
                self._read_until_idle(until, users_ended=users_ended)
            elif drain.bytes_ready():
                self.report.dropped += self._items_left()
        finally:
            corrupt = drain.is_corrupt
            drain.end()
        self._backlog += self._take_backlog()
        self._deliver_backlog()
        if corrupt:
            # A reader died in mid-frame. Nothing tells the items apart, but `put` has counted them.
            self.report.dropped += max(self._items_left(), 1)

    def _deliver_backlog(self) -> None:
        self.delivery.add_items(self._backlog)
        self._backlog = []

    def _items_left(self) -> int:
        return max((items_in_flight(self.queue) or 0) - self._drain.unfreed, 0)

    def _readers_are_gone(self, until: float, *, users_ended: bool) -> bool:
        """Wait for the holder of the readers' lock; tells whether nobody holds it any more."""
        fd = self.fileno()
        if fd is None:
            return False
        read_here = id(self.queue) in threads_in_get()
        if users_ended and not read_here:
            return True
        left, still_until = bytes_in_pipe(fd), time.monotonic() + STALLED_SECONDS
        while left and time.monotonic() < min(until, still_until):
            self._pause()
            before, left = left, bytes_in_pipe(fd)
            if left != before:
                still_until = time.monotonic() + STALLED_SECONDS
        # A reader that waits at an empty pipe is alive and well, and there is nothing to read.
        return bool(left) and not read_here

    def _read_until_idle(self, until: float, *, users_ended: bool) -> None:
        still_since = time.monotonic()
        abandoned = min(ABANDONED_SECONDS, _remaining(until) / 3)
        drain = self._drain
        while True:
            # First the feeder, then the pipe: what an idle feeder has sent is in the pipe.
            idle = feeder_is_idle(self.queue, STALLED_SECONDS)
            progress = drain.read()
            if idle and not drain.is_torn and (users_ended or not progress):
                break
            now = time.monotonic()
            if now >= until:
                break
            if progress:
                still_since = now
            elif idle is not False and now - still_since >= STALLED_SECONDS:
                break
            elif users_ended and now - still_since >= abandoned:
                self.report.dropped += drain.drop_torn_frame()
                force_write_lock(self.queue)
                still_since = now
            else:
                self._pause()
        self.report.dropped += drain.drop_torn_frame()
        if idle is False and not drain.is_corrupt:
            self.report.dropped += 1  # A feeder that nothing can free keeps this item.

    def _pause(self) -> None:
        self.delivery.flush()
        time.sleep(PIPE_TICK_SECONDS)

    def _flush(self, until: float) -> None:
        """Let the feeder of a copy send its items to the others; what it cannot is dropped."""
        if feeder(self.queue) is None:
            return  # A backlog without a feeder was inherited: it is that of the parent.
        items = backlog_size(self.queue)
        while not feeder_is_idle(self.queue, 0.0) and time.monotonic() < until:
            self._pause()
        left = take_backlog(self.queue)
        in_hand = feeder_is_idle(self.queue, 0.0) is False
        self.report.saved += max(items - len(left) - in_hand, 0)
        self.report.dropped += in_hand
        self.delivery.add_items(left)

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

    def close(self) -> None:
        """Close the queue; its feeder is told to end and not waited for."""
        close_queue(self.queue, STALLED_SECONDS)

    def close_for_exit(self, readers: list[threading.Thread]) -> None:
        """Do what closing has to do when descriptors end with the process.

        Args:
            readers: The threads of this process that wait in the queue's `get`.
        """
        if any(not thread.daemon for thread in readers):
            # It would keep the process from ending. Closing the last writer ends its `get`.
            close_pipe(self.queue, only_writer=True)
        elif self.was_closed:
            self.close()  # The app may wait for the feeder, whose sentinel was in the backlog.
        elif not readers and not self.is_filled_by_others:
            seal_queue(self.queue)


def _remaining(until: float) -> float:
    return max(until - time.monotonic(), 0.0)


def _make(entry: Entry, report: ResourceReport, context: Context) -> QueueCloser:
    delivery = Delivery(report, entry.on_item, context.deliveries)
    return QueueCloser(entry.resource, report, delivery, context.snapshot, entry.semaphores)


def _is_spent(entry: Entry) -> bool:
    queue = entry.resource
    if is_closed(queue):
        return backlog_size(queue) == 0
    del queue
    if not is_unused(entry):
        return False
    return not backlog_size(entry.resource) and bool(entry.resource.empty())


QUEUE = Kind(
    "queue",
    ("multiprocessing.queues.Queue", "multiprocessing.queues.SimpleQueue"),
    _make,
    options=ITEMS,
    is_spent=_is_spent,
)
