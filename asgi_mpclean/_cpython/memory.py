"""Shared memory from inside: who made it, and how it is unlinked without taking a lock."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing.shared_memory
import os
from pathlib import Path
from typing import Any

from . import semaphores
from .features import AVAILABLE, Feature

try:
    from _posixshmem import shm_unlink as _shm_unlink  # type: ignore[import-not-found]  # no stub
except ImportError:  # Windows frees it with its last user.
    _shm_unlink = None

FOLDER = "/dev/shm/"  # noqa: S108 - where Linux keeps it
SHARED_MEMORY = multiprocessing.shared_memory.SharedMemory


def made_shared_memory(block: Any) -> bool:
    """Tell whether `block` was created by the call that returned it, not attached to."""
    return Feature.SHARED_MEMORY in AVAILABLE and bool(block._flags & os.O_CREAT)


def unlink_shared_memory(block: Any) -> bool:
    """Unlink `block` and tell the resource tracker; tells whether it was still there.

    Lock-free as `unlink` of semaphores is, and for the same reason.
    """
    if _shm_unlink is None or Feature.TRACKER not in AVAILABLE:
        with contextlib.suppress(FileNotFoundError):
            block.unlink()
            return True
        return False
    found = True
    try:
        _shm_unlink(block._name)
    except OSError:
        found = False
    if is_tracked(block):
        # Whoever was quicker may have told the tracker or not.
        semaphores.unregister([block._name], "shared_memory", known=found)
    return found


def is_tracked(block: Any) -> bool:
    """Tell whether the resource tracker would unlink `block`: `track=` of 3.13 and newer."""
    return bool(getattr(block, "_track", True))


def shared_memory_made_here() -> list[Any]:
    """Return each tracked block of shared memory that this process made and still refers to.

    Python keeps no list of them, and looking through all objects takes its time: that is done only
    if some are mapped. A child by fork cannot tell its own from those it inherited.
    """
    if Feature.SHARED_MEMORY not in AVAILABLE or semaphores.was_forked() or not _is_any_mapped():
        return []
    blocks = [thing for thing in gc.get_objects() if issubclass(type(thing), SHARED_MEMORY)]
    return [block for block in blocks if made_shared_memory(block) and is_tracked(block)]


def _is_any_mapped() -> bool:
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:  # Only Linux can tell.
        return True
    mapped = (line.rpartition(FOLDER)[2] for line in maps.splitlines() if FOLDER in line)
    # Semaphores, and the arenas of Value and Array, which have no name any more.
    return any(not name.startswith(("sem.", "pym-")) for name in mapped)
