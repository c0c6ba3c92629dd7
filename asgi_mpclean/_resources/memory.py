"""Shared memory: the process that made it unlinks it, one that attached to it only closes it."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.memory import (
    UnreferencedMemory,
    believe_name,
    made_shared_memory,
    memory_is_gone,
    note_shared_memory,
    unlink_shared_memory,
    unreferenced,
)

from .base import Closer, Kind

if TYPE_CHECKING:
    from .base import Entry

# Which process registered a block first. A fork inherits the answer: to its child it is a copy.
_registered_by: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def note_memory(resource: Any) -> UnreferencedMemory | None:
    """Remember that this process has registered `resource`, unless it inherited it so.

    Returns:
        What it leaves behind when it is garbage-collected: its name, if it is ours to unlink.
    """
    block = _block(resource)
    _registered_by.setdefault(block, os.getpid())
    if not note_shared_memory(block):
        believe_name(block)
    return unreferenced(block) if _is_made_here(block) else None


def _is_made_here(block: Any) -> bool:
    here = _registered_by.get(block, os.getpid()) == os.getpid()
    return here and made_shared_memory(block)


def _is_gone(entry: Entry) -> bool:
    return memory_is_gone(_block(entry.resource))


def _block(resource: Any) -> Any:
    """Return the `SharedMemory` of a `ShareableList`, or what is one."""
    return getattr(resource, "shm", resource)


class MemoryCloser(Closer):
    """Closes a `SharedMemory` or a `ShareableList`, and unlinks it if this process made it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._block = _block(self.resource)
        self._made_here = _is_made_here(self._block)

    def end(self) -> None:
        """Unlink it, then close it, which fails where the app still has a view of it.

        Not before: a `SharedMemoryManager` unlinks what was made by it, if it is still there, and
        an `on_item` may need what an item is about.
        """
        if self._made_here:
            gone = not unlink_shared_memory(self._block)
            self.report.outcome = "already unlinked" if gone else "unlinked"
        else:
            self.report.outcome = "copy closed"
        try:
            self._block.close()
        except BufferError:
            self.report.in_use = True


MEMORY = Kind(
    "shared memory",
    ("multiprocessing.shared_memory.SharedMemory", "multiprocessing.shared_memory.ShareableList"),
    MemoryCloser,
    is_spent=_is_gone,
    note=note_memory,
)
