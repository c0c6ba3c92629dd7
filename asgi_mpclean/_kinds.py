"""The kinds of resources: what can be registered, with which options, and who closes it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import functools
import multiprocessing.connection
import multiprocessing.managers
import multiprocessing.pool
import multiprocessing.process
import multiprocessing.queues
import multiprocessing.shared_memory
import multiprocessing.sharedctypes
import multiprocessing.synchronize
import queue
import sys
import types
from typing import TYPE_CHECKING, Any, TypeVar

from ._channels import ConnectionCloser, ListenerCloser
from ._closers import Closer, CustomCloser
from ._memory import SharedMemoryCloser
from ._pools import ExecutorCloser, ManagerCloser, PoolCloser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of resource.

    Attributes:
        name: What messages call it.
        types: Its classes.
        options: Which of the options `on_item` and `stop` mean something for it.
        closer: Takes one through a clean-up; the plan itself knows queues, processes and locks.
    """

    name: str
    types: tuple[type, ...]
    options: frozenset[str] = frozenset()
    closer: Callable[..., Closer] | None = None


ITEMS = frozenset({"on_item"})
STOP = frozenset({"stop"})

QUEUE = Kind("queue", (multiprocessing.queues.Queue, multiprocessing.queues.SimpleQueue), ITEMS)
PROCESS = Kind("process", (multiprocessing.process.BaseProcess,), STOP)
LOCK = Kind(
    "lock",
    (
        multiprocessing.synchronize.SemLock,
        multiprocessing.synchronize.Condition,
        multiprocessing.synchronize.Event,
        multiprocessing.synchronize.Barrier,
        multiprocessing.sharedctypes.SynchronizedBase,
    ),
)
POOL = Kind("pool", (multiprocessing.pool.Pool,), STOP, PoolCloser)
EXECUTOR = Kind("executor", (concurrent.futures.ProcessPoolExecutor,), STOP, ExecutorCloser)
MANAGER = Kind("manager", (multiprocessing.managers.BaseManager,), closer=ManagerCloser)
MEMORY = Kind(
    "shared memory",
    (multiprocessing.shared_memory.SharedMemory, multiprocessing.shared_memory.ShareableList),
    closer=SharedMemoryCloser,
)
CONNECTION = Kind(
    "connection",
    tuple(
        getattr(multiprocessing.connection, name)
        for name in ("Connection", "PipeConnection")  # the second on Windows only
        if hasattr(multiprocessing.connection, name)
    ),
    ITEMS,
    ConnectionCloser,
)
LISTENER = Kind("listener", (multiprocessing.connection.Listener,), closer=ListenerCloser)

# The first that fits is taken, and what is added goes to the front.
KINDS = [QUEUE, PROCESS, LOCK, POOL, EXECUTOR, MANAGER, MEMORY, CONNECTION, LISTENER]

ACCEPTED = (
    "Queue, JoinableQueue, SimpleQueue, Process, Lock, RLock, Semaphore, BoundedSemaphore, "
    "Condition, Event, Barrier, Value, Array, Pool, ThreadPool, managers, SharedMemory, "
    "ShareableList, Connection and Listener of multiprocessing are accepted, ProcessPoolExecutor, "
    "and what was added by add_kind()"
)

HINTS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((queue.Queue, queue.SimpleQueue), "; a queue between threads needs no clean-up"),
    ((asyncio.Queue,), "; a queue between tasks needs no clean-up"),
    (
        (multiprocessing.managers.BaseProxy,),
        "; what a manager serves ends with the manager, so register that",
    ),
)


@dataclasses.dataclass
class Entry:
    """A registered or discovered resource with its options.

    `semaphores` are the names of a queue's, if they were looked up when it was registered.
    """

    resource: Any
    kind: Kind
    name: str
    on_item: Callable[[Any], object] | None = None
    stop: Callable[[], object] | None = None
    registered: bool = True
    semaphores: list[str] | None = None


def kind_of(resource: object) -> Kind:
    """Return the kind of `resource`.

    Raises:
        TypeError: If it is of none.
    """
    for kind in KINDS:
        if isinstance(resource, kind.types):
            return kind
    hint = next((text for types, text in HINTS if isinstance(resource, types)), "")
    type_name = f"{type(resource).__module__}.{type(resource).__qualname__}"
    msg = f"cannot register {resource!r} of type {type_name}: {ACCEPTED}{hint}"
    raise TypeError(msg)


def global_names(resources: Iterable[object]) -> dict[int, str]:
    """Return the names of the modules' variables that hold one of `resources`, by its `id`."""
    wanted = {id(resource) for resource in resources}
    names: dict[int, str] = {}
    modules = list(sys.modules.items()) if wanted else []
    for name, module in modules:
        # By its type, as cffi's libraries only say that they are modules.
        if issubclass(type(module), types.ModuleType):
            # Asked in another way, a module that is imported lazily would be imported now.
            variables = object.__getattribute__(module, "__dict__")
            for key, value in list(variables.items()):
                if id(value) in wanted:
                    names.setdefault(id(value), f"{name}.{key}")
    return names


def add_kind(
    cls: type[T],
    close: Callable[[T, float], Iterable[Any] | None],
    *,
    has_workers: bool = False,
) -> None:
    """Let `register` accept instances of a class of somebody else's.

    Queues, processes and locks that extend those of multiprocessing, as torch's do, need none of
    this.

    Args:
        cls: The class; it comes before all kinds there are already.
        close: Called with the resource and the seconds that are left. It closes it for good and
            returns the items that were left in it, for `on_item`, or None. It runs in a thread of
            its own and is left behind at the deadline; what it raises is logged and reported.
        has_workers: Call it while the workers are asked to stop, as for a pool. By default it is
            called when they have ended, as for a queue.

    Raises:
        TypeError: If `cls` is no class or `close` not callable.
    """
    if not isinstance(cls, type):
        msg = f"cls must be a class, not {cls!r}"
        raise TypeError(msg)
    if not callable(close):
        msg = f"close must be callable, not {close!r}"
        raise TypeError(msg)
    closer = functools.partial(CustomCloser, close=close, has_workers=has_workers)
    KINDS[:] = [kind for kind in KINDS if kind.types != (cls,)]
    KINDS.insert(0, Kind(cls.__name__, (cls,), ITEMS, closer))
