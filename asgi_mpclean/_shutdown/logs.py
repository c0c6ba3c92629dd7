"""The last part of a clean-up: the queues that carry log records, and who reads them.

What the rest of the clean-up has to say, and the app in its `on_report`, may be such a record. So
these queues are neither sealed nor closed, and who reads them is ended when there is nothing more.
"""

from __future__ import annotations

import multiprocessing.connection
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.log_queues import queues_of_handlers, queues_of_listeners
from asgi_mpclean._cpython.queues import readable_fd
from asgi_mpclean._items.holders import is_read_by
from asgi_mpclean._resources.asking import refers_to

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asgi_mpclean._resources.queue import QueueCloser
    from asgi_mpclean._resources.worker import WorkerCloser

    from .closers import Closers

# How often (seconds) a queue is looked at that is being read.
LOOK_SECONDS = 0.005
# Who has taken nothing for this long (seconds), though there is something, does not read.
STALLED_SECONDS = 0.3
# A reader that waits at an empty queue for this long (seconds) has done with what it took before.
QUIET_SECONDS = 0.03
# The time (seconds) that a reader may take until it waits at its queue again, to be known by that.
FINDING_SECONDS = 0.1
# The last part (seconds) of the time allowed is for those who do not end when they are asked.
FORCING_SECONDS = 0.1


class LogQueues:
    """The queues of a clean-up that carry log records, with the workers that read them.

    Args:
        closers: Those of the clean-up.
    """

    def __init__(self, closers: Closers) -> None:
        self._closers = closers
        self._listened: set[int] = set()  # in a thread of this process
        self.queues: list[QueueCloser] = []
        self.listeners: list[WorkerCloser] = []

    def __bool__(self) -> bool:
        return bool(self.queues or self.listeners)

    def find(self) -> None:
        """Find out which of the queues carry log records, and which workers read these."""
        listened = queues_of_listeners()
        found = {id(queue): queue for queue in [*queues_of_handlers(), *listened]}
        if not found:
            return
        self._listened = {id(queue) for queue in listened}
        self.queues = [queue for queue in self._closers.queues if id(queue.queue) in found]
        for queue in self.queues:
            queue.carries_log = True
        read_here = [queue for key, queue in found.items() if key not in self._listened]
        until = time.monotonic() + FINDING_SECONDS
        while not self._find_listeners(read_here) and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)

    def _find_listeners(self, queues: list[Any]) -> bool:
        """Find the workers that read the queues; tells whether there is nothing more to find."""
        living = [worker for worker in self._closers.workers if not worker.report.outcome]
        fds = [fd for fd in map(_fd_of, queues) if fd is not None]
        self.listeners = [
            worker
            for worker in living
            if any(refers_to(worker.stop, queue) for queue in queues)
            or any(is_read_by(worker.pid, fd) for fd in fds)
        ]
        return bool(self.listeners) or not living or not fds

    def without(self, queues: Iterable[QueueCloser]) -> list[QueueCloser]:
        """Return those of the queues that carry no log records."""
        return [queue for queue in queues if not queue.carries_log]

    def is_read_here(self, queue: QueueCloser) -> bool:
        """Tell whether a thread of this process reads a queue."""
        return id(queue.queue) in self._listened

    def end(self, until: float) -> None:
        """Let the records be read until `until` (`time.monotonic()`), then end who reads them."""
        closers = self._closers
        closers.each(lambda queue: _let_it_be_read(queue, until), self.queues)
        self._end_listeners(until)
        unread = [queue for queue in self.queues if not self.is_read_here(queue)]
        closers.each(lambda queue: queue.finish(until, users_ended=False), unread)
        closers.runner.wait(until)
        closers.each(lambda queue: queue.delivery.end(), self.queues)

    def _end_listeners(self, until: float) -> None:
        listeners = self.listeners
        for worker in listeners:
            if not worker.check_end() and worker.stop is not None:
                worker.asked = True
                self._closers.runner.submit([worker.stop], f"stop of {worker.report.name}")
        self._await([w for w in listeners if w.asked], until - FORCING_SECONDS)
        for worker in listeners:
            if not worker.check_end():
                worker.terminate()
        self._await(listeners, until)
        for worker in listeners:
            worker.give_up()
            self._closers.note_end(worker.report)

    def _await(self, workers: list[WorkerCloser], until: float) -> None:
        while living := [worker for worker in workers if not worker.check_end()]:
            remaining = until - time.monotonic()
            if remaining <= 0:
                break
            sentinels = [s for s in (worker.sentinel for worker in living) if s is not None]
            multiprocessing.connection.wait(sentinels, min(LOOK_SECONDS, remaining))


def _fd_of(queue: Any) -> int | None:
    # Handlers write to queues of other kinds as well.
    return readable_fd(queue) if hasattr(queue, "_reader") else None


def _let_it_be_read(queue: QueueCloser, until: float) -> None:
    """Wait until a queue has been read, and its reader waits for more; unless nobody reads."""
    now = time.monotonic()
    left, moved_at, quiet_since = queue.left_to_read(), now, None
    while now < until and now - moved_at < STALLED_SECONDS:
        time.sleep(LOOK_SECONDS)
        now, before, left = time.monotonic(), left, queue.left_to_read()
        if left != before:
            moved_at = now
        if left == (0, 0) and queue.is_being_read():
            quiet_since = quiet_since or now
            if now - quiet_since >= QUIET_SECONDS:
                return
        else:
            quiet_since = None
