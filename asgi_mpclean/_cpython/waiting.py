"""Whether the app is waiting for the end of something of multiprocessing."""

from __future__ import annotations

import concurrent.futures.process
import multiprocessing
import os
from typing import TYPE_CHECKING, Any

from .frames import frames_of_other_threads
from .loaded import find

if TYPE_CHECKING:
    from types import FrameType

_FOLDER = os.path.dirname(multiprocessing.__file__) + os.sep
_EXECUTOR = concurrent.futures.process.__file__
# The methods that wait for an end, by their class.
_WAITS = {
    "multiprocessing.process:BaseProcess": "join",
    "multiprocessing.queues:Queue": "join_thread",
    "multiprocessing.queues:JoinableQueue": "join",
    "multiprocessing.pool:Pool": "join terminate __exit__",
    "concurrent.futures.process:ProcessPoolExecutor": "shutdown",
}


def is_waiting_for_end(event_loop: int) -> bool:
    """Tell whether code of the app waits for a worker, a pool, an executor or a queue to end.

    In the thread of the event loop any call of multiprocessing counts as waiting. Another thread
    may read a queue all its life, so there only the methods that wait for an end count.

    Args:
        event_loop: The identifier of the thread that the event loop runs in.
    """
    waits = _codes_of_waits()
    return any(
        _is_inside(frame, waits, anything=ident == event_loop)
        for ident, frame in frames_of_other_threads()
    )


def _codes_of_waits() -> set[Any]:
    return {
        getattr(owner, name).__code__
        for path, names in _WAITS.items()
        if (owner := find(path)) is not None
        for name in names.split()
    }


def _is_inside(frame: FrameType | None, waits: set[Any], *, anything: bool) -> bool:
    while frame is not None:
        if anything and _is_of_multiprocessing(frame):
            return True
        # A pool and an executor have threads that wait for their workers.
        if frame.f_code in waits and not _is_of_multiprocessing(frame.f_back):
            return True
        frame = frame.f_back
    return False


def _is_of_multiprocessing(frame: FrameType | None) -> bool:
    if frame is None:
        return False
    file = frame.f_code.co_filename
    return file == _EXECUTOR or file.startswith(_FOLDER)
