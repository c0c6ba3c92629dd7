"""What the app is waiting for, of multiprocessing, and where in its code."""

from __future__ import annotations

import concurrent.futures.process
import multiprocessing
import os
import selectors
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from .frames import frames_of_other_threads
from .loaded import find

if TYPE_CHECKING:
    from types import CodeType, FrameType

_FOLDER = os.path.dirname(multiprocessing.__file__) + os.sep
_EXECUTOR = concurrent.futures.process.__file__
_FUTURES = concurrent.futures._base.__file__
_threading: Any = threading
# What multiprocessing itself calls to wait.
_HELPERS = frozenset({threading.__file__, selectors.__file__})
# What is called to wait for an end, by the class that has it.
_WAITS = {
    "multiprocessing.process:BaseProcess": "join",
    "multiprocessing.queues:Queue": "join_thread",
    "multiprocessing.queues:JoinableQueue": "join",
    "multiprocessing.pool:Pool": "join terminate __exit__",
    "concurrent.futures.process:ProcessPoolExecutor": "shutdown",
}


class Place(NamedTuple):
    """Where a thread of the app waits; as long as nothing moves there, it stays the same.

    Attributes:
        thread: The identifier of the thread.
        caller: The `id` of the app's frame.
        instruction: Where in that: a line may wait several times.
        awaited: The `id` of what is waited for.
        call: The call that waits, unless it has a timeout: that may return, and be made again,
            though nothing has moved. It is kept, as the next call could have its address.
    """

    thread: int
    caller: int
    instruction: int
    awaited: int
    call: FrameType | None


class Waiting(NamedTuple):
    """What a thread of the app waits for.

    Attributes:
        place: Where it does.
        method: The name of what it has called.
        awaited: The object whose method that is, if it is one.
    """

    place: Place
    method: str
    awaited: Any


def waiting_for_end(event_loop: int) -> list[Waiting]:
    """Return where the app waits for a worker, a pool, an executor or a queue to end.

    In the thread of the event loop any call of multiprocessing counts as waiting. Another thread
    may read a queue all its life, so there only the methods that wait for an end count.

    Args:
        event_loop: The identifier of the thread that the event loop runs in.
    """
    waits = _codes_of_waits()
    found = (
        _find_wait(ident, frame, waits, anything=ident == event_loop)
        for ident, frame in frames_of_other_threads()
    )
    return [waiting for waiting in found if waiting is not None]


def results_awaited(*, by_daemons: bool) -> list[Any]:
    """Return the futures, and the results of pools, that threads of this process wait for.

    Args:
        by_daemons: Those that daemon threads wait for; otherwise, those that threads do for which
            Python waits at its exit.
    """
    found: list[Any] = []
    frame: FrameType | None = None
    for ident, frame in frames_of_other_threads():
        thread = _threading._active.get(ident)
        if thread is not None and thread.daemon is by_daemons:
            found += _results(frame)
    frame = None  # See `frames_of_other_threads`.
    return found


def _results(innermost: FrameType) -> list[Any]:
    frame: FrameType | None = innermost
    while frame is not None and frame.f_code.co_filename in _HELPERS:
        frame = frame.f_back
    file = frame.f_code.co_filename if frame is not None else ""
    if frame is None or not (file == _FUTURES or file.startswith(_FOLDER)):
        return []
    names = frame.f_locals
    return list(names.get("fs", ())) if file == _FUTURES and "fs" in names else [names.get("self")]


def _codes_of_waits() -> set[Any]:
    return {
        getattr(owner, name).__code__
        for path, names in _WAITS.items()
        if (owner := find(path)) is not None
        for name in names.split()
    }


def _find_wait(
    thread: int, innermost: FrameType, waits: set[CodeType], *, anything: bool
) -> Waiting | None:
    """Return what the app's own code has called, if the thread is in a call of multiprocessing.

    Not any call further out counts: all that a worker of a server does is called by one.
    """
    frame: FrameType | None = innermost
    while frame is not None and frame.f_code.co_filename in _HELPERS:
        frame = frame.f_back
    if not _is_of_multiprocessing(frame):
        return None
    while frame is not None and _is_of_multiprocessing(frame.f_back):
        frame = frame.f_back
    # A pool and an executor have threads that wait for their workers.
    if frame is None or not (anything or frame.f_code in waits):
        return None
    return _describe(thread, frame)


def _describe(thread: int, call: FrameType) -> Waiting:
    caller, names = call.f_back, call.f_locals
    awaited = names.get("self")
    unlimited = names.get("timeout") is None
    place = Place(
        thread,
        id(caller),
        caller.f_lasti if caller is not None else 0,
        id(awaited),
        call if unlimited else None,
    )
    return Waiting(place, call.f_code.co_name, awaited)


def _is_of_multiprocessing(frame: FrameType | None) -> bool:
    if frame is None:
        return False
    file = frame.f_code.co_filename
    return file == _EXECUTOR or file.startswith(_FOLDER)
