"""When a queue is spent, and how a registry lets go of one that the app has dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgi_mpclean._cpython.queues import (
    backlog_size,
    close_pipe,
    feeder,
    feeder_is_idle,
    has_readable_pipes,
    is_closed,
    readable_fd,
)
from asgi_mpclean._cpython.semaphores import Snapshot
from asgi_mpclean._items.messages import open_reader
from asgi_mpclean._items.pipe import bytes_in_pipe, is_hung_up

from .drain import NONE_FRAMES

if TYPE_CHECKING:
    from .base import Entry


def is_spent(entry: Entry) -> bool:
    """Tell whether the app has closed a queue, and all that it has put has been sent."""
    queue = entry.resource
    return is_closed(queue) and backlog_size(queue) == 0 and feeder(queue) is None


def let_go(entry: Entry) -> int | None:
    """Let go of a queue that the app has dropped, once nobody can put anything into it any more.

    What has been put is sent first. Then our own write end is closed, so that the read end tells
    when the last of the others has gone.
    """
    queue = entry.resource
    if is_closed(queue) or backlog_size(queue) or feeder_is_idle(queue, 0.0) is not True:
        return None
    if not has_readable_pipes():
        return None
    close_pipe(queue, only_writer=True)
    fd = readable_fd(queue)
    if fd is None or not is_hung_up(fd):
        return None
    if not bytes_in_pipe(fd):
        return 0
    if entry.on_item is not None:
        return None
    return _count_items(fd) if Snapshot().owns(queue) else 0


def _count_items(fd: int) -> int:
    """Count the items in a pipe; None, the usual sentinel, is none."""
    reader, items = open_reader(lambda: fd), 0
    while frames := reader.read():
        items += sum(frame not in NONE_FRAMES for frame in frames)
    return items
