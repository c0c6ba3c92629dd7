"""Reading a multiprocessing pipe raw: frames that are there now, without ever blocking.

`get_nowait` until Empty is no way to drain a queue: it goes through locks that a dead peer may
hold, and it takes a queue for empty whose feeder is behind. The pipe itself holds everything. Its
wire format is that of `multiprocessing.connection`: a length of 4 bytes in network order, then the
pickle; a length of -1 says that one of 8 bytes follows.
"""

from __future__ import annotations

import os
import select
import struct
import sys
from typing import TYPE_CHECKING

if sys.platform == "win32":
    from asgi_mpclean._cpython.windows import peek
else:
    import fcntl
    import termios

if TYPE_CHECKING:
    from collections.abc import Callable

# The size of a Linux pipe by default; a longer read would only allocate more.
CHUNK = 64 * 1024
# So many bytes are read at once, as a fast writer could keep who reads for ever.
AT_ONCE_BYTES = 1024 * 1024
# What stands for a long frame that nobody wants: it is counted, and not kept.
SKIPPED = b""

# The opcode at the beginning of every pickle since protocol 2; the last one is a full stop.
PICKLE_BEGINS = b"\x80"

_INT = struct.Struct("i")
_SHORT = struct.Struct("!i")
_SHORT_SIZE = _SHORT.size
_LONG = struct.Struct("!Q")


class FrameParser:
    """Splits what comes out of a pipe into frames, and keeps the torn tail for the next read.

    Args:
        skips: Nobody wants the frames: long ones are not kept, and only counted.
    """

    __slots__ = ("_pieces", "_size", "_skips", "_unsure", "_wanted", "corrupt")

    def __init__(self, *, skips: bool = False) -> None:
        self._skips = skips
        self._pieces: list[bytes] = []
        self._size = 0  # of all pieces together
        self._wanted = 0  # bytes that the pending frame has when it is complete, once that is known
        self._unsure = False
        # The beginning of the next frame is not known any more; the rest is thrown away.
        self.corrupt = False

    def distrust(self) -> None:
        """Expect the rest of a frame, as a reader may have died in the middle of one."""
        self._unsure = not self.torn

    @property
    def torn(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._size > 0

    @property
    def missing(self) -> int:
        """How many bytes the frame that has begun lacks, as far as its length is known."""
        if not self._size:
            return 0
        header = _SHORT_SIZE if self._size < _SHORT_SIZE else _SHORT_SIZE + _LONG.size
        return (self._wanted or header) - self._size

    def drop_torn_frame(self) -> bool:
        """Forget a frame whose writer is dead; tells whether there was one."""
        torn = self.torn
        self._clear()
        self.corrupt |= torn and self._unsure
        return torn

    def feed(self, data: bytes) -> list[bytes]:
        """Take `data` and return the frames that it completes."""
        if self.corrupt:
            return []
        if not self._size:
            return self._split(data)
        self._size += len(data)
        if self._skips and self._wanted > CHUNK and not self._unsure:
            return self._skip(data)
        self._pieces.append(data)
        if self._size < self._wanted:
            return []  # Joined with each piece, a long frame would take quadratic time.
        data = b"".join(self._pieces)
        self._clear()
        return self._split(data)

    def _skip(self, data: bytes) -> list[bytes]:
        beyond = self._size - self._wanted
        if beyond < 0:
            return []
        self._clear()
        return [SKIPPED, *self._split(data[len(data) - beyond :])]

    def _split(self, data: bytes) -> list[bytes]:
        frames: list[bytes] = []
        start, end = 0, len(data)
        unpack, keep = _SHORT.unpack_from, frames.append  # This loop is most of the work.
        while (begin := start + _SHORT_SIZE) <= end:
            (size,) = unpack(data, start)
            if size < 0:
                self.corrupt = size != -1  # Two read without the lock; the rest means nothing.
                if self.corrupt or end - begin < _LONG.size:
                    break
                (size,) = _LONG.unpack_from(data, begin)
                begin += _LONG.size
            after = begin + size
            if after > end:
                self._wanted = after - start
                break
            keep(data[begin:after])
            start = after
        if self._unsure and frames:
            self._unsure = False
            if not (frames[0].startswith(PICKLE_BEGINS) and frames[0].endswith(b".")):
                self.corrupt = True
                return []
        if start < end and not self.corrupt:
            self._pieces, self._size = [data[start:]], end - start
        return frames

    def _clear(self) -> None:
        self._pieces, self._size, self._wanted = [], 0, 0


class PipeReader(FrameParser):
    """The frames in the pipe behind a descriptor.

    Holding the readers' lock, nobody else reads: the pipe is asked how much it holds, and not read
    for more. Without the lock, the pipe is opened once more, non-blocking, as Linux can: that
    leaves the blocking mode of the processes that share it alone. Elsewhere it is read as with the
    lock, which blocks if somebody else takes what it holds at the same moment.

    Args:
        fd: Tells the descriptor of the read end, None once it is closed. It is asked each time,
            as a feeder closes it when it ends, and its number may soon be another file's.
        skips: Nobody wants the frames: long ones are not kept, and only counted.
    """

    __slots__ = ("_own_fd", "_shared_fd", "ended", "received")

    def __init__(self, fd: Callable[[], int | None], *, skips: bool = False) -> None:
        super().__init__(skips=skips)
        self.ended = False
        self.received = 0  # bytes, to see progress inside a long frame
        self._shared_fd = fd
        self._own_fd: int | None = None

    def read_without_lock(self) -> bool:
        """Be ready for another reader at the same pipe; tells whether it cannot block us."""
        if sys.platform == "win32":
            return False
        self.distrust()
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._own_fd = os.open(f"/proc/self/fd/{self._shared_fd()}", flags)
        except OSError:
            return False
        return True

    def read(self, room: int = AT_ONCE_BYTES) -> list[bytes]:
        """Return the frames that are complete now; an empty list says that none is.

        Args:
            room: So many bytes are wanted. Of a frame that has begun, the rest is read all the
                same, as nobody else could read on from its middle.
        """
        frames: list[bytes] = []
        stop = self.received + AT_ONCE_BYTES
        room += self.received
        while not self.ended and self.received < stop:
            wanted = min(max(room - self.received, self.missing), CHUNK)
            data = self._read_bytes(wanted) if wanted > 0 else b""
            if not data:
                break
            self.received += len(data)
            frames += self.feed(data)
            if len(data) < wanted:
                break
        return frames

    def _read_bytes(self, size: int) -> bytes:
        fd = self._shared_fd() if self._own_fd is None else self._own_fd
        if fd is None:
            return b""
        if self._own_fd is None:
            # What is asked for is there, so that reading it cannot block.
            size = min(bytes_in_pipe(fd), size)
            if not size:
                return b""
        try:
            data = os.read(fd, size)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self.ended = not data
        return data

    def has_ended(self) -> bool:
        """Tell whether nothing is left in the pipe, and nobody who could write."""
        fd = self._shared_fd()
        # Asked in this order, as a writer may have put something and gone. That the pipe can be
        # read would tell nothing: macOS says so at its end as well.
        return self.ended or fd is None or (is_hung_up(fd) and not bytes_in_pipe(fd))

    def close(self) -> None:
        """Close what this reader opened."""
        if self._own_fd is not None:
            os.close(self._own_fd)
            self._own_fd = None
        self.ended = True


def is_hung_up(fd: int) -> bool:
    """Tell whether nobody can write any more; on Windows, only once nothing is left to read."""
    if sys.platform == "win32":
        return peek(fd) is None
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def bytes_in_pipe(fd: int) -> int:
    """Return how many bytes `fd` has to read; 0 as well where that cannot be told."""
    if sys.platform == "win32":
        return (peek(fd) or (0, 0))[0]
    else:  # noqa: RET505 - or type checkers look for `fcntl` on Windows
        size = bytearray(_INT.size)  # Mutable, as that takes a quarter of the time.
        try:
            fcntl.ioctl(fd, termios.FIONREAD, size)
        except OSError:
            return 0
        return int(_INT.unpack(size)[0])
