"""Shared memory from inside: who made it, and how it is unlinked without taking a lock."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import loaded
from .features import AVAILABLE, Feature
from .fork import was_forked
from .tracker import unregister

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

try:
    import _posixshmem  # type: ignore[import-not-found]  # no stub
except ImportError:  # pragma: no cover - Windows frees it with its last user
    _posixshmem = None

# A mapped file in the folder of shared memory that is neither a semaphore, as glibc or musl names
# it, nor the arena of a Value or an Array, which has no name any more.
OTHER_MAPPING = r"/dev/shm/(?!sem[.]|pym-|mp-\w{8}\b|tmp-\d+ )"  # noqa: S108 - only looked for
# The random names that Python gives to blocks; no other block has such a name by chance.
RANDOM_NAME = r"/?psm_[0-9a-f]{8}"

# Device and inode, which tell a block from a later one of the same name.
Identity = tuple[int, int]
# macOS gives all blocks the same. There the name alone tells, if it is a random one.
BY_NAME = 0, 0
# A block by any other name is compared with ours there, by so many bytes at both ends.
COMPARED_BYTES = 64 * 1024
_identities: weakref.WeakKeyDictionary[Any, Identity] = weakref.WeakKeyDictionary()


def made_shared_memory(block: Any) -> bool:
    """Tell whether `block` was created by the call that returned it, not attached to."""
    return Feature.SHARED_MEMORY in AVAILABLE and bool(block._flags & os.O_CREAT)


def note_shared_memory(block: Any) -> bool:
    """Remember which memory is meant by the name of `block`; tells whether that is known.

    An open block has a descriptor that tells; one that the app has closed has none.
    """
    if block not in _identities:
        identity = _identity(block, getattr(block, "_fd", -1))
        if identity is not None:
            _identities[block] = identity
    return block in _identities


def believe_name(block: Any) -> None:
    """Assume that `block`, which is closed, is the memory that has its name now."""
    identity = _has_name_now(block, _identity)
    if identity is not None:
        _identities.setdefault(block, identity)


class UnreferencedMemory:
    """What is left of a `SharedMemory` that has been garbage-collected: its name and its memory.

    Args:
        block: The `SharedMemory`.
    """

    _fd = -1

    def __init__(self, block: Any) -> None:
        self._name, self._flags, self._track = block._name, block._flags, is_tracked(block)
        _identities[self] = _identities[block]

    def close(self) -> None:
        """Do nothing: its mapping went with it."""

    def unlink(self) -> None:
        """Do what `SharedMemory.unlink` does."""
        _posixshmem.shm_unlink(self._name)
        if self._track:
            loaded.tracker.unregister(self._name, "shared_memory")


def unreferenced(block: Any) -> UnreferencedMemory | None:
    """Return what stands for `block` when that is garbage-collected.

    None where that cannot be told, or where the system itself frees it.
    """
    if _posixshmem is None or Feature.SHARED_MEMORY not in AVAILABLE or block not in _identities:
        return None
    return UnreferencedMemory(block)


def memory_is_gone(block: Any) -> bool:
    """Tell whether the name of `block` is free, or another's; False where that cannot be told."""
    known = _identities.get(block)
    if _posixshmem is None or known is None or Feature.SHARED_MEMORY not in AVAILABLE:
        return False
    try:
        fd = _posixshmem.shm_open(block._name, os.O_RDONLY, mode=0)
    except FileNotFoundError:
        return True
    except OSError:  # No descriptor is left, or it is somebody else's.
        return False
    try:
        return _identity(block, fd) != known
    finally:
        os.close(fd)


def _identity(block: Any, fd: int) -> Identity | None:
    """Return what tells the memory behind a descriptor, opened by the name of `block`, from others.

    None where nothing does: on macOS, for a name that somebody has chosen.
    """
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    if status.st_ino:
        return status.st_dev, status.st_ino
    return BY_NAME if re.fullmatch(RANDOM_NAME, block._name) else None


def _has_name_now(block: Any, tells: Callable[[Any, int], T]) -> T | None:
    """Return what `tells` does of `block` and a descriptor of what has its name now, if any."""
    if _posixshmem is None:
        return None
    try:
        fd = _posixshmem.shm_open(block._name, os.O_RDONLY, mode=0)
    except OSError:
        return None
    try:
        return tells(block, fd)
    finally:
        os.close(fd)


def _is_replaced(block: Any) -> bool:
    """Tell whether the name of `block` is another block's now, as the app has unlinked ours."""
    return bool(_has_name_now(block, _is_another))


def _is_another(block: Any, fd: int) -> bool:
    known, found = _identities.get(block), _identity(block, fd)
    if known is None and found is None:
        return not _has_same_content(block, fd)
    return known is not None and found is not None and known != found


def _has_same_content(block: Any, fd: int) -> bool:
    """Tell whether `block` and the memory behind a descriptor look alike; not if it is closed.

    Another block with the same content, such as a new one, is taken for ours.
    """
    ours = getattr(block, "buf", None)
    size = os.fstat(fd).st_size
    if ours is None or len(ours) != size:
        return False
    import mmap  # noqa: PLC0415 - loaded with any block

    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as found:
        ends = slice(COMPARED_BYTES), slice(-COMPARED_BYTES, None)
        return all(bytes(ours[end]) == found[end] for end in ends)


def unlink_shared_memory(block: Any) -> bool:
    """Unlink `block` and tell the resource tracker; tells whether it was still there.

    It takes no lock, so that it may run in a signal handler.
    """
    if _is_replaced(block):
        return False  # The tracker may know this name as that of the other block.
    if _posixshmem is None or Feature.TRACKER not in AVAILABLE:
        with contextlib.suppress(FileNotFoundError):
            block.unlink()
            return True
        return False
    found = True
    try:
        _posixshmem.shm_unlink(block._name)
    except OSError:
        found = False
    if is_tracked(block):
        # If it was unlinked before, the tracker may have been told or not.
        unregister([block._name], "shared_memory", known=found)
    return found


def is_tracked(block: Any) -> bool:
    """Tell whether the resource tracker would unlink `block`: `track=` of 3.13 and newer."""
    return bool(getattr(block, "_track", True))


def shared_memory_made_here() -> list[Any]:
    """Return each tracked block of shared memory that this process made and still refers to.

    Python keeps no list of them, and looking through all objects takes its time: that is done only
    if some are mapped. A child by fork cannot tell its own from those it inherited. One that was
    closed before anybody has seen it open, by a name that anybody can use, is left to Python: it
    may have been unlinked as well, and the name be another's. Windows frees a block with its last
    user, so that there none is looked for.
    """
    if _posixshmem is None or Feature.SHARED_MEMORY not in AVAILABLE or was_forked():
        return []
    if not _is_any_mapped():
        return []
    made = loaded.shared_memory.SharedMemory
    blocks = [thing for thing in gc.get_objects() if issubclass(type(thing), made)]
    blocks = [block for block in blocks if made_shared_memory(block) and is_tracked(block)]
    return [b for b in blocks if note_shared_memory(b) or re.fullmatch(RANDOM_NAME, b._name)]


def _is_any_mapped() -> bool:
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:  # Only Linux can tell.
        return True
    return re.search(OTHER_MAPPING, maps) is not None
