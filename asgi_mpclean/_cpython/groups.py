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
from .pools import pool_processes

if TYPE_CHECKING:
    from types import FrameType

_util: Any = multiprocessing.util


def pools_and_managers() -> list[Any]:
    """Return each live `Pool`, `ThreadPool` and manager that was started in this process."""
    if Feature.SEMAPHORES not in AVAILABLE:
        return []
    found, pid = [], os.getpid()
    for finalizer in list(_util._finalizer_registry.values()):
        name = getattr(finalizer._callback, "__name__", "")
        if name in {"_terminate_pool", "_finalize_manager"} and finalizer._pid == pid:
            found.append(finalizer._weakref())
    return [thing for thing in found if thing is not None] + _pools_in_terminate()


def _pools_in_terminate() -> list[Any]:
    """Return each `Pool` that another thread is terminating, which has no finalizer any more."""
    if not loaded.pools:
        return []
    found, terminate = [], loaded.pools.Pool.terminate.__code__
    for _, innermost in frames_of_other_threads():
        frame: FrameType | None = innermost
        while frame is not None:
            if frame.f_code is terminate:
                found.append(frame.f_locals["self"])
            frame = frame.f_back
    return found


def started_elsewhere(resource: Any) -> bool:
    """Tell whether the processes of a pool, executor or manager are not ours to wait for."""
    if Feature.CHILDREN not in AVAILABLE:
        return False
    return not all(is_child(process) for process in _processes(resource))


def _processes(resource: Any) -> list[Any]:
    if loaded.pools and isinstance(resource, loaded.pools.Pool):
        return pool_processes(resource)
    if loaded.executors and isinstance(resource, loaded.executors.ProcessPoolExecutor):
        return list(executor_processes(resource).values())
    process = manager_process(resource)
    return [] if process is None else [process]


def manager_process(manager: Any) -> Any | None:
    """Return the server process of a manager, None if it was not started here."""
    return getattr(manager, "_process", None) if Feature.MANAGERS in AVAILABLE else None
