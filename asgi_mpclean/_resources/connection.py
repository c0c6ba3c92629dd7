"""Connections and listeners: what a connection has not received yet is delivered."""

from __future__ import annotations

import contextlib
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.queues import has_readable_pipes
from asgi_mpclean._items.delivery import Delivery
from asgi_mpclean._items.holders import is_held_elsewhere
from asgi_mpclean._items.messages import open_reader
from asgi_mpclean._items.pipe import bytes_in_pipe, is_hung_up
from asgi_mpclean._report import READ_AHEAD_BYTES

from .base import ITEMS, Closer, Kind

if TYPE_CHECKING:
    from asgi_mpclean._items.calls import Call

    from .base import Entry


class ConnectionCloser(Closer):
    """Reads the end of a `Pipe`, or of a `Client`'s connection, empty and closes it.

    It has no lock that would tell of other readers: another process that has the same end may be in
    the middle of a message. On Windows nothing tells of those, and a connection by a socket is not
    read, as a message that has not come whole would be waited for: one is counted then.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._delivery = Delivery(self.report, self.on_item, self.context.deliveries)
        self._was_closed = bool(self.resource.closed)
        self._is_copy = False

    def finish(self) -> None:
        """Deliver the messages that are there, and close it."""
        if self._was_closed:
            return
        if self.resource.readable and has_readable_pipes():
            fd = self.resource.fileno()
            self._is_copy = bytes_in_pipe(fd) > 0 and bool(is_held_elsewhere(fd, to_read=True))
            if not self._is_copy:
                self._read()
                self.report.dropped += _is_left_in_socket(self.resource)
        with contextlib.suppress(OSError):
            self.resource.close()

    def _read(self) -> None:
        reader = open_reader(self.resource.fileno, skips=self._delivery.discards)
        moved = True
        while moved and reader.received < READ_AHEAD_BYTES:
            before = reader.received
            self._delivery.add_frames(reader.read(READ_AHEAD_BYTES - before))
            moved = reader.received > before
        self.report.dropped += reader.drop_torn_frame()

    def end(self) -> None:
        """Count what was delivered."""
        self._delivery.end()
        self.report.outcome = "copy closed" if self._is_copy else "closed"
        if self._was_closed:
            self.report.outcome = "already closed"


def _is_left_in_socket(connection: Any) -> bool:
    """Tell whether a connection of Windows, where it is no pipe, has anything to read."""
    if sys.platform != "win32" or not isinstance(connection, Connection):
        return False
    import socket  # noqa: PLC0415 - as rare as such a connection

    with contextlib.suppress(OSError):
        if connection.poll(0):
            end = socket.socket(fileno=connection.fileno())
            try:
                return bool(end.recv(1, socket.MSG_PEEK))
            finally:
                end.detach()
    return False


def _is_spent(entry: Entry) -> bool:
    connection = entry.resource
    if connection.closed:
        return True
    if entry.on_item is None or not (connection.readable and has_readable_pipes()):
        return False
    # First whether somebody may write, then whether somebody has written.
    fd = connection.fileno()
    return is_hung_up(fd) and not bytes_in_pipe(fd)


def _is_held(entry: Entry) -> bool:
    """Tell whether messages may be to come; dropped without that, it tells its peer the end."""
    return entry.on_item is not None


def _is_closed(entry: Entry) -> bool:
    try:
        entry.resource.address  # noqa: B018 - a closed one has none
    except AttributeError:
        return True
    return False


class ListenerCloser(Closer):
    """Closes a `Listener`, which removes its socket file."""

    _closing: Call | None = None

    def finish(self) -> None:
        """Close it."""
        self._closing = self.call(self.resource.close, "the close of")

    def end(self) -> None:
        """Report whether that has been done."""
        done = self._closing is not None and self._closing.wait(0)
        self.report.outcome = "closed" if done else "still running"


CONNECTION = Kind(
    "connection",
    ("multiprocessing.connection.Connection", "multiprocessing.connection.PipeConnection"),
    ConnectionCloser,
    options=ITEMS,
    is_spent=_is_spent,
    is_held=_is_held,
)
LISTENER = Kind(
    "listener",
    ("multiprocessing.connection.Listener",),
    ListenerCloser,
    is_spent=_is_closed,
)
