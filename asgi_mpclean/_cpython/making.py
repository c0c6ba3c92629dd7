"""Resources that are just being made, so that no registry of multiprocessing knows them yet."""

from __future__ import annotations

import multiprocessing.process
import os
import sys
from typing import TYPE_CHECKING, Any

from . import loaded
from .features import AVAILABLE, Feature

if TYPE_CHECKING:
    from types import FrameType

_START: Any = multiprocessing.process.BaseProcess.start


def is_making_something() -> bool:
    """Tell whether a thread is making a semaphore, shared memory or a child process.

    If the process ends at such a moment, the resource is left behind.
    """
    if Feature.FRAMES not in AVAILABLE or Feature.CHILDREN not in AVAILABLE:
        return False
    makers = _makers()
    return any(_is_inside(frame, makers) for frame in sys._current_frames().values())


def _makers() -> set[Any]:
    codes = {_START.__code__}
    if loaded.synchronize:
        codes.add(loaded.synchronize.SemLock.__init__.__code__)
    if loaded.shared_memory:
        codes.add(loaded.shared_memory.SharedMemory.__init__.__code__)
    return codes


def _is_inside(frame: FrameType | None, makers: set[Any]) -> bool:
    while frame is not None:
        if frame.f_code in makers and not _is_of_parent(frame):
            return True
        frame = frame.f_back
    return False


def is_in_start(frame: FrameType | None) -> bool:
    """Tell whether a thread, of which this is the frame, is starting a child process."""
    return _is_inside(frame, {_START.__code__})


def _is_of_parent(frame: FrameType) -> bool:
    """Tell whether it is the start of this process itself, which a forked child has below it."""
    if frame.f_code is not _START.__code__:
        return False
    return bool(frame.f_locals["self"]._parent_pid != os.getpid())
