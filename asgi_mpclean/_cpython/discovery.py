"""Queues from inside: all that this process made, and the threads that wait in them."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import multiprocessing.queues
import multiprocessing.synchronize
import multiprocessing.util
import selectors
import sys
import threading
from typing import Any

from .features import AVAILABLE, Feature
from .frames import frames_of_other_threads
from .relatives import DILL, LOKY, dill_queues

_queues: Any = multiprocessing.queues
_threading: Any = threading
_util: Any = multiprocessing.util


def threads_in_get() -> dict[int, list[threading.Thread]]:
    """Return the threads of this process that wait in the `get` of a queue, by the queue's id.

    It takes no lock, unlike `threading.enumerate`: a signal handler may ask.
    """
    files = _get_files()
    waiting: dict[int, list[threading.Thread]] = {}
    frame: Any
    for ident, frame in frames_of_other_threads():
        caller = frame
        while caller is not None and caller.f_code.co_filename in files:
            if caller.f_code.co_name == "get" and (thread := _threading._active.get(ident)):
                waiting.setdefault(id(caller.f_locals.get("self")), []).append(thread)
            caller = caller.f_back
    frame = caller = None  # See `frames_of_other_threads`.
    return waiting


def _get_files() -> frozenset[str]:
    """Return the files that the calls are in by which `get` waits."""
    files = [getattr(sys.modules.get(name), "__file__", None) for name in _COPIES]
    return _GET_FILES.union(file for file in files if file is not None)


_GET_FILES: frozenset[str] = frozenset(
    str(module.__file__)
    for module in (
        multiprocessing.connection,
        multiprocessing.queues,
        multiprocessing.synchronize,  # It waits for another reader.
        selectors,
    )
)
_COPIES = tuple(f"{DILL}.{name}" for name in ("connection", "queues", "synchronize"))


def queues_made_here() -> list[Any]:
    """Return each Queue and JoinableQueue of this process, registered or not.

    Also the rest of a queue that nobody refers to any more and whose feeder is still alive: Python
    would join the feeder at its exit, even if it is blocked.
    """
    if Feature.DISCOVERY not in AVAILABLE:
        return []
    if sys.platform == "win32":
        queues = _queues_put_into()
    else:
        # A copy of the inner dict is one step (see `gil`): a thread may be making a queue.
        references = _util._afterfork_registry.data.copy()
        things = [references[age]() for age in sorted(references)]
        queues = [thing for thing in things if isinstance(thing, _queues.Queue)] + dill_queues()
    return queues + _unreferenced_queues({id(queue._thread) for queue in queues})


def _queues_put_into() -> list[Any]:
    """Return the queues that have a feeder, on Windows, where nothing lists those without.

    A queue into which only others put is not found: to look for it among all objects of Python
    takes too long to be done again and again.
    """
    if Feature.REGISTRY not in AVAILABLE:
        return []
    closing = _queues.Queue._finalize_close
    finalizers = list(_util._finalizer_registry.values())
    things = [f._weakref() for f in finalizers if f._callback is closing and f._weakref]
    return [thing for thing in things if thing is not None]


class UnreferencedQueue:
    """What the feeder thread keeps of a queue that has been garbage-collected.

    Its lock, which the feeder keeps as well, tells which process made it.
    """

    def __init__(self, thread: threading.Thread, joining: Any) -> None:
        arguments = thread._args  # type: ignore[attr-defined]
        self._buffer, self._notempty, _, self._wlock, reader_close, writer_close = arguments[:6]
        self._reader, self._writer = reader_close.__self__, writer_close.__self__
        self._rlock = None  # The feeder does not have it.
        self._thread, self._jointhread, self._close = thread, joining, None
        self._closed = False


def is_unreferenced(queue: Any) -> bool:
    """Tell whether of `queue` only the feeder is left in this process, and no lock to read it."""
    return isinstance(queue, UnreferencedQueue)


def _unreferenced_queues(known_threads: set[int]) -> list[UnreferencedQueue]:
    if Feature.FEEDER not in AVAILABLE or Feature.REGISTRY not in AVAILABLE:
        return []
    found = []
    for finalizer in list(_util._finalizer_registry.values()):
        if finalizer._callback is not _queues.Queue._finalize_join:
            continue
        thread = finalizer._args[0]()
        if thread is None or id(thread) in known_threads or not thread.is_alive():
            continue
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # It has just ended.
            found.append(UnreferencedQueue(thread, finalizer))
    return found


_EXECUTORS = frozenset(
    {"concurrent.futures.process"}
    | {f"{package}.process_executor" for package in LOKY}
    | {f"{package}.backend.queues" for package in LOKY}
)


def belongs_to_executor(queue: Any) -> bool:
    """Tell whether `queue` is the inside of an executor, whose items are no items of the app."""
    return type(queue).__module__ in _EXECUTORS
