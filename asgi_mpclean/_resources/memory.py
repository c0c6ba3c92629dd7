"""Shared memory: the process that made it unlinks it, one that attached to it only closes it."""

from __future__ import annotations

import os
import weakref
from typing import Any

from asgi_mpclean._cpython.memory import (
    believe_name,
    made_shared_memory,
    note_shared_memory,
    unlink_shared_memory,
)

from .base import Closer, Kind

# Which process registered a block first. A fork inherits the answer: to its child it is a copy.
_registered_by: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def note_memory(resource: Any) -> None:
    """Remember that this process has registered `resource`, unless it inherited it so."""
    block = _block(resource)
    _registered_by.setdefault(block, os.getpid())
    if not note_shared_memory(block):
        believe_name(block)


def _block(resource: Any) -> Any:
    """Return the `SharedMemory` of a `ShareableList`, or what is one."""
    return getattr(resource, "shm", resource)


class MemoryCloser(Closer):
    """Closes a `SharedMemory` or a `ShareableList`, and unlinks it if this process made it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._block = _block(self.resource)
        here = _registered_by.get(self._block, os.getpid()) == os.getpid()
        self._made_here = here and made_shared_memory(self._block)

    def finish(self) -> None:
        """Unlink it first: to close it may fail, where the app still has a view of it."""
        gone = False
        if self._made_here:
            gone = not unlink_shared_memory(self._block)
            self.report.outcome = "already unlinked" if gone else "unlinked"
        else:
            self.report.outcome = "copy closed"
        try:
            self._block.close()
        except BufferError as error:
            # The memory stays mapped until the view is gone, or the process.
            self.report.error = repr(error)


MEMORY = Kind(
    "shared memory",
    ("multiprocessing.shared_memory.SharedMemory", "multiprocessing.shared_memory.ShareableList"),
    MemoryCloser,
    note=note_memory,
)
