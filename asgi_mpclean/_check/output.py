"""What a server writes, read while it runs."""

from __future__ import annotations

import contextlib
import os
import threading


class Output:
    """What the server writes, read all the time by a thread, so that no pipe ever fills."""

    def __init__(self, descriptor: int) -> None:
        """Start reading the descriptor, which is closed at its end."""
        self._descriptor = descriptor
        self._read = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._drain, name="harness-output", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        # A terminal whose last user is gone says EIO where a pipe says end of file.
        with contextlib.suppress(OSError):
            while chunk := os.read(self._descriptor, 65536):
                with self._changed:
                    self._read += chunk
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def text(self) -> str:
        """Return everything read so far."""
        with self._changed:
            return self._read.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, text: str, count: int, timeout: float) -> bool:
        """Wait until the text was written so many times; false when it will not be."""
        wanted = text.encode()
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or self._read.count(wanted) >= count, timeout
            )
            return self._read.count(wanted) >= count

    def wait_for_end(self, timeout: float) -> None:
        """Wait until no process has the writing end any more."""
        self._thread.join(timeout)

    def close(self) -> None:
        """Close the descriptor, once nobody reads it."""
        self._thread.join(1)
        if not self._thread.is_alive():
            os.close(self._descriptor)
