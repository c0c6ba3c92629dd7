"""All kinds of resources: what can be registered, and of which kind something is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .connection import CONNECTION, LISTENER
from .custom import custom_kind
from .executor import EXECUTOR
from .lock import LOCK
from .managed import MANAGED_QUEUE
from .manager import MANAGER
from .memory import MEMORY
from .pool import POOL
from .queue import QUEUE
from .relatives import LOKY
from .worker import PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .base import Kind

T = TypeVar("T")

# The first that fits is taken, and what is added goes to the front.
KINDS = [
    QUEUE,
    PROCESS,
    LOCK,
    POOL,
    EXECUTOR,
    LOKY,
    MANAGED_QUEUE,
    MANAGER,
    MEMORY,
    CONNECTION,
    LISTENER,
]

ACCEPTED = (
    "Queue, JoinableQueue, SimpleQueue, Process, Lock, RLock, Semaphore, BoundedSemaphore, "
    "Condition, Event, Barrier, Value, Array, Pool, ThreadPool, managers and their queues, "
    "SharedMemory, ShareableList, Connection and Listener of multiprocessing are accepted, "
    "ProcessPoolExecutor, executors of loky and joblib, queues, processes and pools of "
    "multiprocess, and what was added by add_kind()"
)

HINTS = {
    "queue.Queue": "; a queue between threads needs no clean-up",
    "_queue.SimpleQueue": "; a queue between threads needs no clean-up",
    "asyncio.queues.Queue": "; a queue between tasks needs no clean-up",
    "multiprocessing.managers.BaseProxy": (
        "; what a manager serves ends with the manager, so register that"
    ),
}


def kind_of(resource: object) -> Kind:
    """Return the kind of `resource`.

    Raises:
        TypeError: If it is of none.
    """
    names = _class_names(resource)
    for kind in KINDS:
        for cls in kind.types:
            if cls in names if isinstance(cls, str) else isinstance(resource, cls):
                return kind
    hint = next((HINTS[name] for name in names if name in HINTS), "")
    type_name = f"{type(resource).__module__}.{type(resource).__qualname__}"
    msg = f"cannot register {resource!r} of type {type_name}: {ACCEPTED}{hint}"
    raise TypeError(msg)


def _class_names(resource: object) -> list[str]:
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(resource).__mro__]


def add_kind(cls: type[T], close: Callable[[T, float], Iterable[Any] | None]) -> None:
    """Let `register` accept instances of a class that the library does not know.

    Queues, processes and locks that extend those of multiprocessing, as torch's do, need none of
    this.

    Args:
        cls: The class; it comes before all kinds there are already.
        close: Called with the resource and the seconds that are left, once the workers have ended.
            It closes the resource for good and returns the items that were left in it, for
            `on_item`, or None. It runs in a thread of its own and is left behind at the deadline;
            what it raises is logged and reported.

    Raises:
        TypeError: If `cls` is no class or `close` not callable.
    """
    if not isinstance(cls, type):
        msg = f"cls must be a class, not {cls!r}"
        raise TypeError(msg)
    if not callable(close):
        msg = f"close must be callable, not {close!r}"
        raise TypeError(msg)
    KINDS[:] = [kind for kind in KINDS if kind.types != (cls,)]
    KINDS.insert(0, custom_kind(cls, close))
