"""Reading a queue's pipe under its readers' lock, and passing its items on."""

from __future__ import annotations

import contextlib
import pickle
import queue as stdlib_queue
import sys
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.discovery import is_unreferenced
from asgi_mpclean._cpython.queues import (
    awaitable_end,
    free_slots,
    has_readable_pipes,
    read_lock,
    readable_fd,
)
from asgi_mpclean._items.delivery import OVERHEAD_BYTES
from asgi_mpclean._items.holders import is_held_elsewhere
from asgi_mpclean._items.messages import open_reader
from asgi_mpclean._items.pipe import AT_ONCE_BYTES, bytes_in_pipe
from asgi_mpclean._report import READ_AHEAD_BYTES

if TYPE_CHECKING:
    from asgi_mpclean._items.delivery import Sink
    from asgi_mpclean._items.messages import MessageReader
    from asgi_mpclean._items.pipe import PipeReader

# The time (seconds) after which a pipe in which nothing moves is not expected to move again.
STALLED_SECONDS = 0.1
# How often (seconds) to look at a pipe or a feeder that is about to send something.
PIPE_TICK_SECONDS = 0.0005
# The pickles of None, the usual sentinel: one that no worker has taken is not an item. That of
# `multiprocess` may be of another protocol.
NONE_FRAMES = frozenset(pickle.dumps(None, number) for number in range(pickle.HIGHEST_PROTOCOL + 1))
# A pipe holds 64 KiB on Linux, and less elsewhere: 8 KiB on Windows, up to Python 3.12. With so
# many bytes in it a writer may wait.
NEARLY_FULL_BYTES = (4 if sys.platform == "win32" else 12) * 1024


class QueueDrain:
    """Reads the items of one queue that this process made.

    Args:
        queue: A Queue, JoinableQueue or SimpleQueue of multiprocessing.
        delivery: Where its items go.
    """

    def __init__(self, queue: Any, delivery: Sink) -> None:
        self.queue = queue
        self.ignore_sentinels = False
        self.unfreed = 0  # items taken that the queue still counts as its own
        self.moves = 0  # how often a look at the pipe has found something
        self._delivery = delivery
        self._reader: PipeReader | MessageReader | None = None
        self._held: Any | None = None  # the readers' lock, while we hold it
        self._uncounted_bytes = 0  # of the frame that has been read in part

    def fileno(self) -> int | None:
        """Return the descriptor that is readable when there is something to read."""
        return readable_fd(self.queue)

    def awaitable(self) -> Any | None:
        """Return what `multiprocessing.connection.wait` takes to wait until there is something."""
        return awaitable_end(self.queue)

    def bytes_ready(self) -> int:
        """Return how many bytes are in the pipe."""
        fd = self.fileno()
        return 0 if fd is None else bytes_in_pipe(fd)

    @property
    def is_at_end(self) -> bool:
        """Whether no writer is left."""
        return self._reader is not None and self._reader.has_ended()

    @property
    def is_torn(self) -> bool:
        """Whether a frame has been read in part."""
        return self._reader is not None and self._reader.torn

    @property
    def is_corrupt(self) -> bool:
        """Whether the beginning of the next frame is not known any more."""
        return self._reader is not None and self._reader.corrupt

    @property
    def is_held_back(self) -> bool:
        """Whether nothing more is read until `on_item` has taken what was read."""
        full = self._delivery.waiting_bytes >= READ_AHEAD_BYTES
        return full and not self.is_torn and self.has_more()

    def has_more(self) -> bool:
        """Tell whether anything is there to be read."""
        if has_readable_pipes():
            return self.bytes_ready() > 0
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return not self.queue.empty()
        return False

    def take_lock(self, seconds: float) -> bool:
        """Take the readers' lock, if it can be had within `seconds`; tells whether it is held."""
        if self._held is not None:
            return True
        lock = read_lock(self.queue)
        if lock is None:
            # Of a queue that is gone but for its feeder, the others still have the lock.
            return not is_unreferenced(self.queue)
        taken = lock.acquire(timeout=seconds) if seconds else lock.acquire(block=False)
        self._held = lock if taken else None
        return bool(taken)

    def give_lock(self) -> None:
        """Give the lock back, except in mid-frame: the next reader would take data for a length."""
        if self._held is not None and self.is_torn:
            self._complete_frame()
        if not self.is_torn:
            self._release_lock()

    def end(self) -> None:
        """Give the lock back and close what was opened: nothing more will be read."""
        self._release_lock()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _release_lock(self) -> None:
        if self._held is not None:
            lock, self._held = self._held, None
            lock.release()

    def _complete_frame(self) -> None:
        """Wait a moment for the rest of a frame that somebody is writing; it may have no end."""
        until = time.monotonic() + STALLED_SECONDS
        while self.is_torn and time.monotonic() < until:
            if not self.read(rest=True):
                time.sleep(PIPE_TICK_SECONDS)

    def read_without_lock(self) -> bool:
        """Be ready to read past a lock that its holder will not give back.

        Returns:
            Whether that can be done while somebody else reads.
        """
        return self._make_reader().read_without_lock()

    def _make_reader(self) -> PipeReader | MessageReader:
        if self._reader is None:
            self._reader = open_reader(self.fileno, skips=self._delivery.discards)
        return self._reader

    def read(self, *, rest: bool = False) -> bool:
        """Read what is there, as long as there is room for it.

        Args:
            rest: Read no more than the frame that has begun.

        Returns:
            Whether anything was there, be it a part of a frame.
        """
        room = 0 if rest else max(READ_AHEAD_BYTES - self._delivery.waiting_bytes, 0)
        moved = self._read_raw(room) if has_readable_pipes() else self._read_publicly(room)
        self.moves += moved
        return moved

    def _read_raw(self, room: int) -> bool:
        reader = self._make_reader()
        before = reader.received
        frames = reader.read(room)
        self._uncounted_bytes += reader.received - before
        if frames:
            self.free_slots(len(frames))
            if self.ignore_sentinels:
                frames = [frame for frame in frames if frame not in NONE_FRAMES]
            size = self._uncounted_bytes + OVERHEAD_BYTES * len(frames)
            self._delivery.add_frames(frames, size)
            self._uncounted_bytes = 0
        return reader.received > before

    def _read_publicly(self, room: int) -> bool:
        """Read by `get`: slower, and a torn frame blocks it; where there is nothing else."""
        items: list[Any] = []
        room, size = min(room, AT_ONCE_BYTES), 0
        gone = (stdlib_queue.Empty, OSError, ValueError, EOFError, AttributeError)
        with contextlib.suppress(*gone):
            while size < room and not self.queue.empty():
                items.append(
                    self.queue.get_nowait()
                    if hasattr(self.queue, "get_nowait")
                    else self.queue.get()
                )
                size += sys.getsizeof(items[-1], OVERHEAD_BYTES)
        moved = bool(items)
        if self.ignore_sentinels:
            items = [item for item in items if item is not None]
        self._delivery.add_read_items(items, size)
        return moved

    def drop_torn_frame(self, *, has_readers: bool = False) -> bool:
        """Forget a frame whose writer is dead; tells whether an item is lost with it.

        Args:
            has_readers: Somebody else may read on. The lock is not given back, as by any reader
                whose writer has died: what comes next may be the rest of the frame.
        """
        if self._reader is None or not self._reader.drop_torn_frame():
            return False
        if has_readers:
            self._held = None
        return not self._reader.corrupt

    def free_slots(self, count: int) -> None:
        """Let a blocked `put` go on, once `count` items have been taken."""
        if not free_slots(self.queue, count):
            self.unfreed += count


def is_abandoned(queue: Any) -> bool:
    """Tell whether no other process has a queue, as far as the system tells."""
    fd = readable_fd(queue)
    return fd is None or not is_held_elsewhere(fd)
