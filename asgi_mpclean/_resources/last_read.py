"""The last reading of a queue, when its workers have ended: who still moves is waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.discovery import threads_in_get
from asgi_mpclean._cpython.queues import (
    backlog_size,
    feeder,
    feeder_is_idle,
    force_write_lock,
    items_in_flight,
    take_backlog,
)
from asgi_mpclean._items.holders import is_held_elsewhere

from .drain import PIPE_TICK_SECONDS, STALLED_SECONDS

if TYPE_CHECKING:
    from asgi_mpclean._items.delivery import Sink
    from asgi_mpclean._report import ResourceReport

    from .drain import QueueDrain

# How long (seconds) the lock of a dead writer may stand before it is broken.
ABANDONED_SECONDS = 0.3
# How long (seconds) who holds the readers' lock may take for one item: it is a slow reader, and not
# a dead one whose pipe somebody else has inherited.
READING_SECONDS = 0.5
# How often (seconds) it is looked whether such a reader has taken something.
TURN_SECONDS = 0.02


class LastRead:
    """Reads what the feeder and other processes still send, until nothing moves any more.

    Args:
        queue: A Queue, JoinableQueue or SimpleQueue of multiprocessing.
        report: What is written into.
        delivery: Where its items go.
        drain: What reads its pipe.
    """

    def __init__(
        self, queue: Any, report: ResourceReport, delivery: Sink, drain: QueueDrain
    ) -> None:
        self._queue = queue
        self._report = report
        self._delivery = delivery
        self._drain = drain

    def read(self, until: float, *, users_ended: bool) -> None:
        """Read the pipe empty, under the readers' lock or where nobody else can want it.

        Args:
            until: `time.monotonic()` at which to give up, and count the rest.
            users_ended: No other process uses the queue: a lock that is held is abandoned.
        """
        drain = self._drain
        if drain.take_lock(0.0 if users_ended else min(STALLED_SECONDS, _remaining(until))):
            self._read_until_idle(until, users_ended=users_ended)
        elif (
            alone := self._is_ours_alone(until, users_ended=users_ended)
        ) and drain.read_without_lock():
            self._read_until_idle(until, users_ended=True)
        elif self._wait_for_turn(until):
            self._read_until_idle(until, users_ended=False)
        elif alone and users_ended:
            # Nothing has been taken all the time, so that nobody is about to take it.
            self._read_until_idle(until, users_ended=True)
        elif any(self._left()):
            self.count_items_left()

    def flush(self, until: float) -> None:
        """Let the feeder of a copy send its items to the others; what it cannot is dropped.

        Args:
            until: `time.monotonic()` at which to give up.
        """
        if feeder(self._queue) is None:
            return  # A backlog without a feeder was inherited: it is that of the parent.
        items = backlog_size(self._queue)
        while not feeder_is_idle(self._queue, 0.0) and time.monotonic() < until:
            self._pause()
        left = take_backlog(self._queue)
        in_hand = feeder_is_idle(self._queue, 0.0) is False
        self._report.saved += max(items - len(left) - in_hand, 0)
        self._report.dropped += in_hand
        self._delivery.add_items(left)

    def count_items_left(self) -> None:
        """Count as dropped what cannot be read: as many as `put` has counted, at least one."""
        self._report.dropped += max(self._items_left(), 1)

    def _items_left(self) -> int:
        return max((items_in_flight(self._queue) or 0) - self._drain.unfreed, 0)

    def _is_ours_alone(self, until: float, *, users_ended: bool) -> bool:
        """Tell whether no other process and no other thread uses the queue; one may just be ending.

        The children of multiprocessing are not all: they have children, and there is `os.fork`.
        Where the system tells nothing of those, all is known by `users_ended`.
        """
        fd = self._drain.fileno()
        if fd is None or id(self._queue) in threads_in_get():
            return False
        until = min(until, time.monotonic() + STALLED_SECONDS)
        while (held := is_held_elsewhere(fd)) and time.monotonic() < until:
            self._pause()
        return users_ended if held is None else not held

    def _wait_for_turn(self, until: float) -> bool:
        """Wait for the readers' lock as long as its holder takes something; says if it is had."""
        left, moved_at = self._left(), time.monotonic()
        while any(left) and time.monotonic() < min(until, moved_at + READING_SECONDS):
            self._delivery.flush()
            if self._drain.take_lock(TURN_SECONDS):
                return True
            before, left = left, self._left()
            if left != before:
                moved_at = time.monotonic()
        return False

    def _left(self) -> tuple[bool, int]:
        """Tell whether the feeder has an item in its hand, and how many bytes are in the pipe.

        Asked in this order: what the feeder has just sent is in the pipe.
        """
        return feeder_is_idle(self._queue, 0.0) is False, self._drain.bytes_ready()

    def _read_until_idle(self, until: float, *, users_ended: bool) -> None:
        still_since = time.monotonic()
        abandoned = min(ABANDONED_SECONDS, _remaining(until) / 3)
        drain = self._drain
        while True:
            # First the feeder, then the pipe: what an idle feeder has sent is in the pipe.
            idle = feeder_is_idle(self._queue, STALLED_SECONDS)
            progress = drain.read()
            now = time.monotonic()
            if now >= until:
                break
            if drain.is_held_back:
                self._delivery.make_room()
                still_since = now
                self._pause()
            elif (
                idle
                and not drain.is_torn
                and not (progress and (not users_ended or drain.has_more()))
            ):
                break
            elif progress:
                still_since = now
            elif idle is not False and now - still_since >= STALLED_SECONDS:
                break
            elif users_ended and now - still_since >= abandoned:
                users_ended = self._is_ours_alone(until, users_ended=True)
                if users_ended:
                    self._report.dropped += drain.drop_torn_frame()
                    force_write_lock(self._queue)
                still_since = now
            else:
                self._pause()
        self._count_rest(in_hand=idle is False, users_ended=users_ended)

    def _count_rest(self, *, in_hand: bool, users_ended: bool) -> None:
        """Count what cannot be read any more, in the pipe and in the hand of the feeder."""
        drain = self._drain
        more = drain.has_more() and not drain.is_corrupt
        lost = int(drain.drop_torn_frame(has_readers=not users_ended))
        if in_hand and not drain.is_corrupt:
            lost += 1  # It stays in the hand of a feeder that nothing frees.
        self._report.dropped += max(self._items_left(), lost + 1) if more else lost

    def _pause(self) -> None:
        self._delivery.flush()
        time.sleep(PIPE_TICK_SECONDS)


def _remaining(until: float) -> float:
    return max(until - time.monotonic(), 0.0)
