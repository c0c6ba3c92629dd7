"""Closing connections and listeners; what a connection has not received yet is delivered."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from . import _cpython
from ._closers import Closer
from ._delivery import Delivery
from ._drain import PipeReader

if TYPE_CHECKING:
    from ._callbacks import Call


class ConnectionCloser(Closer):
    """Reads the end of a `Pipe`, or of a `Client`'s connection, empty and closes it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._delivery = Delivery(self.report, self.on_item, self.caller)
        self._was_closed = bool(self.resource.closed)

    def finish(self) -> None:
        """Deliver the messages that are there, and close it."""
        if self._was_closed:
            return
        if self.resource.readable and _cpython.has_readable_pipes():
            reader = PipeReader(self.resource.fileno)
            self._delivery.add_frames(reader.read())
            self.report.dropped += reader.drop_torn_frame()
        with contextlib.suppress(OSError):
            self.resource.close()

    def end(self) -> None:
        """Count what was delivered."""
        self._delivery.end()
        self.report.outcome = "already closed" if self._was_closed else "closed"


class ListenerCloser(Closer):
    """Closes a `Listener`, which removes its socket file."""

    _closing: Call | None = None

    def finish(self) -> None:
        """Close it."""
        self._closing = self.call(self.resource.close, "the close of")

    def end(self) -> None:
        """Say whether that has been done."""
        done = self._closing is not None and self._closing.wait(0)
        self.report.outcome = "closed" if done else "still running"
