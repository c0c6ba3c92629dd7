"""Whether something is just being made, so that no registry of multiprocessing knows it yet."""

from __future__ import annotations

import multiprocessing.process
import multiprocessing.shared_memory
import multiprocessing.synchronize
import os
import sys
from typing import TYPE_CHECKING, Any

from .features import AVAILABLE, Feature

if TYPE_CHECKING:
    from types import FrameType

_START: Any = multiprocessing.process.BaseProcess.start
_MAKERS: Any = (
    multiprocessing.synchronize.SemLock.__init__,
    multiprocessing.shared_memory.SharedMemory.__init__,
    _START,
)
_CODES = {getattr(maker, "__code__", None) for maker in _MAKERS}


def is_making_something() -> bool:
    """Tell whether a thread is making a semaphore, shared memory or a child process.

    Whoever ends the process at such a moment leaves that behind.
    """
    if not {Feature.FRAMES, Feature.CHILDREN} <= AVAILABLE:
        return False
    return any(map(_is_inside_maker, sys._current_frames().values()))


def _is_inside_maker(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _CODES and not _is_of_parent(frame):
            return True
        frame = frame.f_back
    return False


def _is_of_parent(frame: FrameType) -> bool:
    """Tell whether it is the start of this process itself, which a forked child has below it."""
    if frame.f_code is not _START.__code__:
        return False
    return bool(frame.f_locals["self"]._parent_pid != os.getpid())
