"""Pools, executors and managers, which have processes of their own."""

from __future__ import annotations

import multiprocessing.util
import os
from typing import TYPE_CHECKING, Any

from . import loaded
from .children import is_child
from .executors import executor_processes
from .features import AVAILABLE, Feature
from .frames import frames_of_other_threads
from .pools import is_pool, pool_classes, pool_processes
from .relatives import finalizers_of_dill

if TYPE_CHECKING:
    from types import FrameType

_util: Any = multiprocessing.util


def pools_and_managers() -> list[Any]:
    """Return each live `Pool`, `ThreadPool` and manager that was started in this process."""
    if Feature.REGISTRY not in AVAILABLE:
        return []
    found, pid = [], os.getpid()
    for finalizer in [*_util._finalizer_registry.values(), *finalizers_of_dill()]:
        name = getattr(finalizer._callback, "__name__", "")
        if name in {"_terminate_pool", "_finalize_manager"} and finalizer._pid == pid:
            found.append(finalizer._weakref())
    # Others use the same registry, and the same names: billiard's pool is none of these.
    return [thing for thing in found if _is_pool_or_manager(thing)] + _pools_in_terminate()


def managed_queues() -> list[Any]:
    """Return the queues of managers that were made through this process."""
    if Feature.PROXIES not in AVAILABLE or not loaded.managers:
        return []
    references = _util._afterfork_registry.data.copy()
    things = [references[age]() for age in sorted(references)]
    return [
        thing
        for thing in things
        if isinstance(thing, loaded.managers.BaseProxy)
        and thing._manager is not None
        and thing._token.typeid in {"Queue", "JoinableQueue"}
    ]


def _is_pool_or_manager(thing: Any) -> bool:
    managers = loaded.managers and isinstance(thing, loaded.managers.BaseManager)
    return bool(managers) or is_pool(thing)


def _pools_in_terminate() -> list[Any]:
    """Return each `Pool` that another thread is terminating, which has no finalizer any more."""
    found: list[Any] = []
    terminates = {pool.terminate.__code__ for pool in pool_classes("Pool")}
    if not terminates:
        return found
    frame: FrameType | None
    for _, frame in frames_of_other_threads():
        while frame is not None:  # See `frames_of_other_threads`.
            if frame.f_code in terminates:
                found.append(frame.f_locals["self"])
            frame = frame.f_back  # noqa: PLW2901 - nothing else refers to it then
    return found


def started_elsewhere(resource: Any) -> bool:
    """Tell whether the processes of a pool, executor or manager are not ours to wait for."""
    if Feature.CHILDREN not in AVAILABLE:
        return False
    return not all(is_child(process) for process in _processes(resource))


def _processes(resource: Any) -> list[Any]:
    if is_pool(resource):
        return pool_processes(resource)
    if loaded.executors and isinstance(resource, loaded.executors.ProcessPoolExecutor):
        return list(executor_processes(resource).values())
    process = manager_process(resource)
    return [] if process is None else [process]


def manager_process(manager: Any) -> Any | None:
    """Return the server process of a manager, None if it was not started here."""
    return getattr(manager, "_process", None) if Feature.MANAGERS in AVAILABLE else None


def manager_has_ended(manager: Any) -> bool:
    """Tell whether a manager that was started here has been shut down."""
    shutdown = getattr(manager, "shutdown", None)  # A `Finalize`, once it has been started.
    return isinstance(shutdown, _util.Finalize) and not shutdown.still_active()
