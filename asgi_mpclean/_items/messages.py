"""Reading a multiprocessing pipe of Windows: whole messages, those that are there now.

There a pipe keeps each message whole, whatever becomes of its writer, and tells how long the first
one is. So a reader has nothing to split, cannot come into the middle of a message that another has
begun, and never has to wait. What this cannot do: tell how many other processes have the pipe.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from asgi_mpclean._cpython.windows import peek, read_message

from .pipe import AT_ONCE_BYTES, CHUNK, SKIPPED, PipeReader

if TYPE_CHECKING:
    from collections.abc import Callable


class MessageReader:
    """The messages in the pipe behind a handle, read as a `PipeReader` reads frames.

    Args:
        fd: Tells the handle of the read end, None once it is closed.
        skips: Nobody wants the messages: long ones are not kept, and only counted.
    """

    __slots__ = ("_fd", "_skips", "ended", "received")

    # No message is ever read in part.
    torn = corrupt = False

    def __init__(self, fd: Callable[[], int | None], *, skips: bool = False) -> None:
        self._fd = fd
        self._skips = skips
        self.ended = False
        self.received = 0  # bytes

    def read_without_lock(self) -> bool:
        """Be ready for another reader at the same pipe: it takes a whole message, or none."""
        return True

    def read(self, room: int = AT_ONCE_BYTES) -> list[bytes]:
        """Return the messages that are there now; an empty list says that there is none.

        Args:
            room: So many bytes are wanted; the last message may have more.
        """
        messages: list[bytes] = []
        stop = self.received + min(room, AT_ONCE_BYTES)
        while self.received < stop and (message := self._read_one()) is not None:
            self.received += len(message)
            messages.append(SKIPPED if self._skips and len(message) > CHUNK else message)
        return messages

    def _read_one(self) -> bytes | None:
        fd = self._fd()
        ready = (0, 0) if fd is None or self.ended else peek(fd)
        if ready is None:
            self.ended = True
        if fd is None or not ready or not ready[0]:
            return None
        try:
            return read_message(fd, ready[1])
        except OSError:  # Its writer has died meanwhile, or somebody has closed our end.
            return None

    def drop_torn_frame(self) -> bool:
        """Tell that no message has been read in part."""
        return False

    def has_ended(self) -> bool:
        """Tell whether nothing is left in the pipe, and nobody who could write."""
        fd = self._fd()
        return self.ended or fd is None or peek(fd) is None

    def close(self) -> None:
        """Read no more."""
        self.ended = True


def open_reader(fd: Callable[[], int | None], *, skips: bool = False) -> PipeReader | MessageReader:
    """Return what reads a pipe of multiprocessing on this system.

    Args:
        fd: Tells the descriptor of the read end, None once it is closed.
        skips: Nobody wants the items: long ones are not kept, and only counted.
    """
    if sys.platform == "win32":
        return MessageReader(fd, skips=skips)
    return PipeReader(fd, skips=skips)
