"""Closing one queue: what is in it goes to `on_item`, in order, and its feeder is left alone.

The order of the items of a queue is: what is in the pipe; the item in the feeder's hand, which is
on its way into the pipe; the backlog, which the feeder had not begun with.
"""

from __future__ import annotations

import contextlib
import queue as stdlib_queue
import time
from typing import TYPE_CHECKING, Any

from . import _cpython
from ._drain import PipeReader, bytes_in_pipe

if TYPE_CHECKING:
    import threading

    from ._delivery import Sink
    from ._report import ResourceReport

# The time (seconds) after which a pipe in which nothing moves is not expected to move again.
STALLED = 0.1
# The same for a lock that must have been left behind by a dead process, before it is broken.
ABANDONED = 0.3
# How often (seconds) a feeder is looked at that is about to send something.
TICK = 0.0005
# The pickle of None, the usual sentinel: what a worker left of its `stop` is no item.
NONE_FRAME = bytes(_cpython.dumps(None))
# A pipe holds 64 KiB on Linux, and less elsewhere; with this much in it a writer may be blocked.
NEARLY_FULL = 12 * 1024


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
        snapshot: _cpython.Snapshot,
        semaphores: list[str] | None = None,
    ) -> None:
        self.queue = queue
        self.report = report
        self.delivery = delivery
        self.owned = snapshot.owns(queue)
        if semaphores is None:
            semaphores = _cpython.semaphore_names_of(queue)
        self.names = semaphores if self.owned else []
        self.was_closed = _cpython.is_closed(queue)
        # Others fill it and we read it: to read it while they end keeps them from blocking.
        self.is_filled_by_others = _cpython.never_put(queue)
        self.ignore_sentinels = False
        self.is_left_to_workers = False  # They have been asked to work it off.
        # For who waits for the workers: when they last wrote something here, and what becomes
        # readable when they do.
        self.last_output = 0.0
        self.awaited: int | None = None
        self._backlog: list[Any] = []
        self._reader: PipeReader | None = None
        self._held: Any | None = None  # the readers' lock, while we hold it
        self._moves = 0  # how often a look at the pipe has found something
        self._unfreed = 0  # items taken that the queue still counts as its own

    # Before and while the workers end ----------------------------------------------------------

    def take_backlog(self) -> None:
        """Take what the feeder has not begun to send; a copy's belongs to its other users."""
        if self.owned and not self.is_left_to_workers:
            self._backlog += self._take_backlog()

    def _take_backlog(self) -> list[Any]:
        items = _cpython.take_backlog(self.queue)
        if items:
            self._free_slots(len(items))
        if self.ignore_sentinels:
            items = [item for item in items if item is not None]
        return items

    def _free_slots(self, count: int) -> None:
        if not _cpython.free_slots(self.queue, count):
            self._unfreed += count

    def fileno(self) -> int | None:
        """Return the descriptor that is readable when there is something to read."""
        return _cpython.readable_fd(self.queue) if self.owned else None

    def read_some(self, wait: float = 0.0) -> bool:
        """Read what is there, unless a live reader holds the lock; tells whether anything was.

        Args:
            wait: Seconds to wait for a reader that is just taking something.
        """
        if not self.owned or self.is_left_to_workers:
            return False
        if not self._take_lock(wait if wait > 0 and self.is_readable else 0.0):
            return False
        before = self._moves
        try:
            self._read()
        finally:
            self._give_lock()
        return self._moves > before

    def make_room(self) -> None:
        """Read what is there if that may keep a worker from ending, and note how it went."""
        self.awaited = None
        if self.is_left_to_workers:
            return
        if self.is_filled_by_others or self.is_full:
            if self.read_some():
                self.last_output = time.monotonic()
            elif self.is_readable:
                return
        if self.is_filled_by_others and not self.is_at_end:
            self.awaited = self.fileno()

    @property
    def is_at_end(self) -> bool:
        """Whether no writer is left."""
        return self._reader is not None and self._reader.has_ended()

    @property
    def is_readable(self) -> bool:
        """Whether something is in the pipe."""
        fd = self.fileno()
        return fd is not None and bytes_in_pipe(fd) > 0

    @property
    def is_full(self) -> bool:
        """Tell whether the pipe holds so much that a writer may be blocked."""
        fd = self.fileno()
        return fd is not None and bytes_in_pipe(fd) >= NEARLY_FULL

    def _read(self) -> bool:
        """Read what is there; tells whether anything was, be it a part of a frame."""
        if not _cpython.has_readable_pipes():
            moved = self._read_publicly()
        else:
            reader = self._reader = self._reader or PipeReader(self.fileno)
            before = reader.received
            frames = reader.read()
            moved = reader.received > before
            if frames:
                self._free_slots(len(frames))
                if self.ignore_sentinels:
                    frames = [frame for frame in frames if frame != NONE_FRAME]
                self.delivery.add_frames(frames)
        self._moves += moved
        return moved

    def _read_publicly(self) -> bool:
        """Read by `get`: slower, and a torn frame blocks it; where there is nothing else."""
        items: list[Any] = []
        gone = (stdlib_queue.Empty, OSError, ValueError, EOFError, AttributeError)
        with contextlib.suppress(*gone):
            while not self.queue.empty():
                items.append(
                    self.queue.get_nowait()
                    if hasattr(self.queue, "get_nowait")
                    else self.queue.get()
                )
        moved = bool(items)
        if self.ignore_sentinels:
            items = [item for item in items if item is not None]
        self.delivery.add_items(items)
        return moved

    def _take_lock(self, seconds: float) -> bool:
        """Take the readers' lock, if it can be had within `seconds`; tells whether it is held."""
        if self._held is not None:
            return True
        lock = _cpython.read_lock(self.queue)
        if lock is None:
            return True
        taken = lock.acquire(timeout=seconds) if seconds else lock.acquire(block=False)
        self._held = lock if taken else None
        return bool(taken)

    def _give_lock(self, *, anyhow: bool = False) -> None:
        """Give the lock back, but in mid-frame, where a reader would take data for a length.

        Args:
            anyhow: Nothing more will be read.
        """
        if self._held is not None and not anyhow and self._is_torn:
            self._complete_frame()
        if self._held is not None and (anyhow or not self._is_torn):
            lock, self._held = self._held, None
            lock.release()

    @property
    def _is_torn(self) -> bool:
        return self._reader is not None and self._reader.torn

    @property
    def _is_corrupt(self) -> bool:
        return self._reader is not None and self._reader.corrupt

    def _complete_frame(self) -> None:
        """Wait a moment for the rest of a frame that somebody is writing; it may have no end."""
        until = time.monotonic() + STALLED
        while self._is_torn and time.monotonic() < until:
            if not self._read():
                time.sleep(TICK)

    # When the workers have ended ---------------------------------------------------------------

    def finish_at_rest(self, *, users_ended: bool) -> bool:
        """Do what `finish` does with one look, if nothing is on its way into the pipe.

        Args:
            users_ended: No other process uses the queue.

        Returns:
            Whether that was all; if not, `finish` has to wait for something. What is in the pipe
            has been read all the same, so that nobody waits for room in it.
        """
        if not self.owned:
            return False
        self._backlog += self._take_backlog()
        if not self._take_lock(0.0):
            return False
        # First the feeder, then the pipe: what an idle feeder has sent is in the pipe.
        idle = _cpython.feeder_is_idle(self.queue, 0.0)
        moved = self._read()
        if self._is_torn:
            return False  # Nobody else can read on from here.
        self._give_lock(anyhow=True)
        if not idle or (moved and not users_ended) or self._is_corrupt:
            return False
        self._deliver_backlog()
        return True

    def finish(self, until: float, *, users_ended: bool) -> None:
        """Read the queue empty, then deliver its backlog.

        Args:
            until: `time.monotonic()` at which to give up.
            users_ended: No other process uses the queue: a lock that is held is abandoned.
        """
        if not self.owned:
            self._flush(until)
            return
        try:
            if self._take_lock(0.0 if users_ended else min(STALLED, _remaining(until))) or (
                self._readers_are_gone(until, users_ended=users_ended) and self._can_force()
            ):
                self._read_until_idle(until, users_ended=users_ended)
            else:
                self.report.dropped += self._items_left() if self.is_readable else 0
        finally:
            corrupt = self._is_corrupt
            self._give_lock(anyhow=True)
            self._close_reader()
        self._backlog += self._take_backlog()
        self._deliver_backlog()
        if corrupt:
            # A reader died in mid-frame. Nothing tells the items apart, but `put` has counted them.
            self.report.dropped += max(self._items_left(), 1)

    def _deliver_backlog(self) -> None:
        self.delivery.add_items(self._backlog)
        self._backlog = []

    def _items_left(self) -> int:
        return max((_cpython.items_in_flight(self.queue) or 0) - self._unfreed, 0)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _can_force(self) -> bool:
        """Prepare for reading past a lock that its holder will not give back."""
        self._reader = self._reader or PipeReader(self.fileno)
        return self._reader.read_without_lock()

    def _readers_are_gone(self, until: float, *, users_ended: bool) -> bool:
        """Wait for who holds the readers' lock, and tell whether nobody does any more."""
        fd = self.fileno()
        if fd is None:
            return False
        read_here = id(self.queue) in _cpython.threads_in_get()
        if users_ended and not read_here:
            return True
        left, still_until = bytes_in_pipe(fd), time.monotonic() + STALLED
        while left and time.monotonic() < min(until, still_until):
            self._pause()
            before, left = left, bytes_in_pipe(fd)
            if left != before:
                still_until = time.monotonic() + STALLED
        # A reader that waits at an empty pipe is alive and well, and there is nothing to read.
        return bool(left) and not read_here

    def _read_until_idle(self, until: float, *, users_ended: bool) -> None:
        still_since = time.monotonic()
        abandoned = min(ABANDONED, _remaining(until) / 3)
        while True:
            # First the feeder, then the pipe: what an idle feeder has sent is in the pipe.
            idle = _cpython.feeder_is_idle(self.queue, STALLED)
            progress = self._read()
            if idle and not self._is_torn and (users_ended or not progress):
                break
            now = time.monotonic()
            if now >= until:
                break
            if progress:
                still_since = now
            elif idle is not False and now - still_since >= STALLED:
                break
            elif users_ended and now - still_since >= abandoned:
                self._drop_torn_frame()
                _cpython.force_write_lock(self.queue)
                still_since = now
            else:
                self._pause()
        self._drop_torn_frame()
        if idle is False and not self._is_corrupt:
            self.report.dropped += 1  # It stays in the hand of a feeder that nothing frees.

    def _pause(self) -> None:
        self.delivery.begin()
        time.sleep(TICK)

    def _drop_torn_frame(self) -> None:
        if self._is_torn and self._reader.drop_torn_frame():  # type: ignore[union-attr]  # it read
            self.report.dropped += not self._is_corrupt

    def _flush(self, until: float) -> None:
        """Let the feeder of a copy send its items to the others; what it cannot is dropped."""
        if _cpython.feeder(self.queue) is None:
            return  # A backlog without a feeder was inherited: it is that of the parent.
        items = _cpython.backlog_size(self.queue)
        while not _cpython.feeder_is_idle(self.queue, 0.0) and time.monotonic() < until:
            self._pause()
        left = _cpython.take_backlog(self.queue)
        in_hand = _cpython.feeder_is_idle(self.queue, 0.0) is False
        self.report.saved += max(items - len(left) - in_hand, 0)
        self.report.dropped += in_hand
        self.delivery.add_items(left)

    # At the end --------------------------------------------------------------------------------

    def release(self, *, going_away: bool) -> None:
        """Give back what draining took, and see to it that nobody waits for the feeder.

        Args:
            going_away: The process ends next: its threads end with it.
        """
        self._give_lock(anyhow=True)
        self._close_reader()
        if self.was_closed:
            self.report.outcome = "already closed"
        else:
            self.report.outcome = "closed" if self.owned else "copy closed"
        _cpython.leave_feeder(self.queue, forget=going_away)
        if self.owned:
            _cpython.wake_joiners(self.queue)

    def close(self) -> None:
        """Close the queue; its feeder is told to end and not waited for."""
        _cpython.close(self.queue, STALLED)

    def close_for_exit(self, readers: list[threading.Thread]) -> None:
        """Do what closing has to do when descriptors end with the process.

        Args:
            readers: The threads of this process that wait in the queue's `get`.
        """
        if any(not thread.daemon for thread in readers):
            # It would keep the process from ending; closing the last writer ends its `get`.
            _cpython.close_pipe(self.queue, only_writer=True)
        elif self.was_closed:
            self.close()  # The app may wait for the feeder, whose sentinel was in the backlog.
        elif not readers and not self.is_filled_by_others:
            _cpython.seal(self.queue)


def _remaining(until: float) -> float:
    return max(until - time.monotonic(), 0.0)
