"""Queues from inside: the backlog, the feeder thread, the pipe and its locks."""

from __future__ import annotations

import collections
import contextlib
import itertools
import multiprocessing.connection
import multiprocessing.queues
import multiprocessing.reduction
import multiprocessing.synchronize
import multiprocessing.util
import sys
from typing import TYPE_CHECKING, Any

from .features import AVAILABLE, Feature
from .frames import frames_of_other_threads

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from types import FrameType

_CONNECTIONS = multiprocessing.connection.__file__
_queues: Any = multiprocessing.queues
_sync: Any = multiprocessing.synchronize
_util: Any = multiprocessing.util


def take_backlog(queue: Any) -> list[Any]:
    """Take the items that `queue`'s feeder has not begun to send; needs no lock at all."""
    if Feature.BACKLOG not in AVAILABLE:
        return []
    buffer = getattr(queue, "_buffer", None)
    if not buffer:
        return []
    taken: list[Any] = []
    # From the right, as the feeder takes from the left: what it takes meanwhile comes before all
    # that is taken here. With a GIL it takes nothing, as this is one call in C.
    with contextlib.suppress(IndexError):
        taken.extend(itertools.starmap(buffer.pop, itertools.repeat(())))
    taken.reverse()
    sentinel = _sentinel(queue)
    return [item for item in taken if item is not sentinel]


def _names_around(queue: Any) -> dict[str, Any]:
    """Return the names of the module that the class of `queue`, or one below it, is defined in.

    That is `multiprocessing.queues`, or the copy of it that another package has.
    """
    names: dict[str, Any] = getattr(getattr(queue, "_feed", None), "__globals__", vars(_queues))
    return names


def _sentinel(queue: Any) -> Any:
    """Return what tells the feeder of `queue` to end."""
    return _names_around(queue).get("_sentinel", _queues._sentinel)


def unpickle_of(queue: Any) -> Callable[[Any], Any]:
    """Return what `queue` itself makes items of pickles with."""
    pickler: Any = _names_around(queue).get("_ForkingPickler")
    return getattr(pickler, "loads", loads)


def free_slots(queue: Any, count: int) -> bool:
    """Do what `Queue.get` does for a blocked `put`, once it has `count` items.

    Returns:
        False for a queue without a limit, where nobody is blocked and it is left undone.
    """
    slots = getattr(queue, "_sem", None)
    if slots is None or getattr(queue, "_maxsize", 0) == _sync.SEM_VALUE_MAX:
        return False
    with contextlib.suppress(ValueError):
        for _ in range(count):
            slots.release()
    return True


def items_in_flight(queue: Any) -> int | None:
    """Return how many items `queue` holds by its own count, or None where it cannot tell."""
    try:
        return int(queue.qsize())
    except (AttributeError, NotImplementedError, OSError):
        return None


def items_fill(queue: Any) -> bool:
    """Tell whether `queue` has as many items as it may have; False where that cannot be told."""
    try:
        return bool(queue.full())
    except (AttributeError, NotImplementedError, OSError):
        return False


def has_readable_pipes() -> bool:
    """Tell whether queues can be read by their pipes in this Python, on this system."""
    known = Feature.PIPE in AVAILABLE
    return known and (sys.platform != "win32" or Feature.MESSAGES in AVAILABLE)


def readable_fd(queue: Any) -> int | None:
    """Return the descriptor of the read end of `queue`'s pipe, None if it is closed.

    On Windows it is a handle, which nothing but a read tells whether it is readable.
    """
    if not has_readable_pipes():
        return None
    # `fileno()` returns the same, and takes two calls more.
    handle: int | None = getattr(getattr(queue, "_reader", None), "_handle", None)
    return handle


def awaitable_end(queue: Any) -> Any | None:
    """Return what `multiprocessing.connection.wait` takes to wait for something in `queue`."""
    if sys.platform == "win32":
        end = getattr(queue, "_reader", None) if has_readable_pipes() else None
        return None if end is None or end.closed else end
    return readable_fd(queue)


def read_lock(queue: Any) -> Any | None:
    """Return the lock that `queue`'s readers hold; `get` takes it where it is called instead."""
    return getattr(queue, "_rlock", None) if has_readable_pipes() else None


def force_write_lock(queue: Any) -> bool:
    """Release the write lock of `queue`, whose holder has died; only when all its users ended."""
    lock = getattr(queue, "_wlock", None) if Feature.PIPE in AVAILABLE else None
    if lock is None or lock.acquire(block=False):
        if lock is not None:
            lock.release()
        return False
    lock.release()
    return True


def never_put(queue: Any, *, unknown: bool) -> bool:
    """Tell whether this process has put nothing into `queue`: others fill it, we read it.

    Args:
        queue: Any queue of multiprocessing.
        unknown: The answer for a SimpleQueue, which does not know.
    """
    if Feature.FEEDER not in AVAILABLE:
        return False
    return getattr(queue, "_thread", None) is None if hasattr(queue, "_thread") else unknown


def feeder(queue: Any) -> threading.Thread | None:
    """Return the live feeder thread of `queue`, if it has one."""
    thread: threading.Thread | None = getattr(queue, "_thread", None)
    return thread if thread is not None and thread.is_alive() else None


def backlog_size(queue: Any) -> int:
    """Return how many items `queue` has not begun to send."""
    return len(getattr(queue, "_buffer", ()))


def feeder_is_idle(queue: Any, wait: float) -> bool | None:
    """Tell whether the feeder of `queue` holds no item that it has taken and not yet sent.

    Args:
        queue: A `multiprocessing` queue.
        wait: Seconds to wait for the feeder's lock: a `put` with a dead peer can hold it.

    Returns:
        None if that cannot be told, as the lock could not be had.
    """
    if getattr(queue, "_thread", None) is None:
        return True
    notempty = getattr(queue, "_notempty", None)
    idle = None
    if (
        Feature.FEEDER in AVAILABLE
        and notempty is not None
        and (notempty.acquire(timeout=wait) if wait else notempty.acquire(blocking=False))
    ):
        idle = bool(notempty._waiters) and not queue._buffer
        notempty.release()
    # Asked last, as that takes longer.
    return True if idle or feeder(queue) is None else idle


def is_closed(queue: Any) -> bool:
    """Tell whether the app has closed `queue` itself."""
    if getattr(queue, "_closed", False):
        return True
    return bool(getattr(getattr(queue, "_reader", None), "closed", False))


def seal_queue(queue: Any) -> None:
    """Let `put` and `get` on `queue` raise ValueError from now on."""
    if hasattr(queue, "_closed"):
        queue._closed = True


def leave_feeder(queue: Any, *, forget: bool) -> None:
    """Keep the exit of the interpreter from joining `queue`'s feeder, which may be blocked.

    Args:
        queue: A `multiprocessing` queue.
        forget: Keep it also from telling the feeder to end, which takes a lock.
    """
    if Feature.FEEDER not in AVAILABLE:
        if hasattr(queue, "cancel_join_thread"):
            queue.cancel_join_thread()
        return
    queue._joincancelled = True
    for name in ("_jointhread", "_close") if forget else ("_jointhread",):
        if (finalizer := getattr(queue, name, None)) is not None:
            # As in `Snapshot.claim`; it takes half the time of `cancel`.
            util = sys.modules.get(type(finalizer).__module__, _util)  # Or the copy of dill's.
            util._finalizer_registry.pop(finalizer._key, None)


def close_queue(queue: Any, wait: float) -> None:
    """Close `queue` in this process; a feeder is told to close it and not waited for.

    Args:
        queue: A `multiprocessing` queue.
        wait: Seconds to wait for the feeder's lock.
    """
    if Feature.FEEDER not in AVAILABLE or Feature.BACKLOG not in AVAILABLE:
        queue.close()
        return
    if not isinstance(getattr(queue, "_buffer", None), _Dropping):
        seal_queue(queue)
    if feeder(queue) is None:
        close_pipe(queue)
        return
    finalizer, queue._close = queue._close, None
    if finalizer is not None:
        finalizer.cancel()
    if queue._notempty.acquire(timeout=wait):
        try:
            queue._buffer.append(_sentinel(queue))
            queue._notempty.notify()
        finally:
            queue._notempty.release()


class _Dropping(collections.deque[Any]):
    """The backlog of a queue into which nothing more goes but the sentinel for its feeder.

    Args:
        old: That which the feeder has; None if there is no feeder.
        sentinel: What tells it to end.
        note: Called at the first item.
    """

    def __init__(self, old: Any, sentinel: Any, note: Callable[[], None]) -> None:
        super().__init__()
        self._old = old
        self._sentinel = sentinel
        self._notes = [note]

    def append(self, item: Any) -> None:
        if item is self._sentinel:
            super().append(item) if self._old is None else self._old.append(item)
        else:
            while self._notes:
                self._notes.pop()()


class _Nowhere:
    """The write end of a SimpleQueue's pipe, into which nothing more goes.

    Args:
        end: The end that has been there.
        lock: That of the writers; None on Windows, where they need none.
        note: Called at the first item.
    """

    def __init__(self, end: Any, lock: Any, note: Callable[[], None]) -> None:
        self._end = end
        self._lock = lock
        self._notes = [note]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._end, name)

    def send_bytes(self, *_: Any) -> None:
        while self._notes:
            self._notes.pop()()

    def close(self) -> None:
        # Under a thread that is just writing, its descriptor could become another's. Then it is
        # closed with the queue. Who takes the lock from now on finds this object. Frames alone do
        # not tell without a GIL: they come and go while they are looked at.
        if not _is_held_here(self._lock) and not any(
            frame.f_locals.get("self") is self._end for frame in _sending()
        ):
            self._end.close()


def _is_held_here(lock: Any) -> bool:
    """Tell whether a thread of this process holds a lock, as far as that is known."""
    return (
        lock is not None
        and Feature.HOLDERS in AVAILABLE
        # It counts what this process has taken and not given back.
        and bool(lock._semlock._count() > 0)
    )


def _sending() -> Iterator[FrameType]:
    frame: FrameType | None = None
    try:
        for _, frame in frames_of_other_threads():
            while frame is not None and frame.f_code.co_filename == _CONNECTIONS:
                yield frame
                frame = frame.f_back  # noqa: PLW2901 - nothing else refers to it then
    finally:
        frame = None  # See `frames_of_other_threads`.


def drop_puts(queue: Any, note: Callable[[], None]) -> None:
    """Let each `put` into `queue` do nothing, also where somebody has got hold of the method.

    Args:
        queue: A queue of multiprocessing; in this process it is over.
        note: Called at the first `put`.
    """
    if hasattr(queue, "_buffer"):
        if Feature.BACKLOG in AVAILABLE:
            old = queue._buffer if feeder(queue) else None
            queue._buffer = _Dropping(old, _sentinel(queue), note)
    elif Feature.PIPE in AVAILABLE:
        lock = getattr(queue, "_wlock", None)
        queue._writer = _Nowhere(queue._writer, lock, note)


def close_pipe(queue: Any, *, only_writer: bool = False) -> None:
    """Close the ends of `queue`'s pipe in this process."""
    if Feature.PIPE not in AVAILABLE:
        queue.close()
        return
    for end in ("_writer",) if only_writer else ("_writer", "_reader"):
        with contextlib.suppress(OSError, AttributeError):
            getattr(queue, end).close()


def wake_joiners(queue: Any) -> None:
    """Wake the threads blocked in `JoinableQueue.join()`: what they wait for will not come."""
    condition = getattr(queue, "_cond", None)
    if condition is None or Feature.JOINERS not in AVAILABLE:
        return
    while condition._sleeping_count.acquire(block=False):
        condition._wait_semaphore.release()


loads: Callable[[Any], Any] = multiprocessing.reduction.ForkingPickler.loads
