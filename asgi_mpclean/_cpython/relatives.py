"""Packages whose processes and pools are multiprocessing's cousins: found where they are loaded."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from .features import AVAILABLE, Feature

# loky, and the copy of it that joblib has.
LOKY = ("loky", "joblib.externals.loky")
# multiprocessing with dill: all its names are the same, and its registries its own.
DILL = "multiprocess"


def loky_executors() -> list[Any]:
    """Return the executors of loky and joblib that have workers."""
    found: list[Any] = []
    for package in LOKY:
        module = sys.modules.get(f"{package}.process_executor")
        threads = list(getattr(module, "_threads_wakeups", ()))
        found += [getattr(thread, "executor_reference", lambda: None)() for thread in threads]
    return [executor for executor in found if executor is not None]


def loky_jobs(executor: Any) -> list[Any]:
    """Return the futures of an executor of loky that are not done."""
    pending = getattr(executor, "_pending_work_items", None) or {}
    return [work.future for work in list(pending.copy().values())]


def shut_down_loky(executor: Any) -> None:
    """End an executor of loky with its workers, its semaphores and joblib's folder; it may block.

    Left alone, its workers outlive this process; killed by somebody else, its own tracker warns.
    """
    executor.shutdown(wait=True, kill_workers=True)
    folders = getattr(executor, "_temp_folder_manager", None)
    if folders is not None:
        folders._clean_temporary_resources(force=True)


def dill_queues() -> list[Any]:
    """Return each Queue and JoinableQueue of `multiprocess` that this process has."""
    queues: Any = sys.modules.get(f"{DILL}.queues")
    if queues is None or Feature.DISCOVERY not in AVAILABLE:
        return []
    references = sys.modules[f"{DILL}.util"]._afterfork_registry.data.copy()
    things = [references[age]() for age in sorted(references)]
    return [thing for thing in things if isinstance(thing, queues.Queue)]


def finalizers_of_dill() -> list[Any]:
    """Return what `multiprocess` is to call for what this process has made."""
    return _finalizers(f"{DILL}.util")


def loky_processes(executor: Any) -> list[Any]:
    """Return the workers of an executor of loky."""
    processes: dict[int, Any] = getattr(executor, "_processes", None) or {}
    return list(processes.copy().values())


def children_of_relatives() -> list[Any]:
    """Return the processes that `multiprocess` has started."""
    process: Any = sys.modules.get(f"{DILL}.process")
    return [] if process is None else list(process.active_children())


def unlink_semaphores_of_relatives() -> None:
    """Unlink what they have made in this process, and have each tell its own tracker so."""
    makers = {f"{package}.backend.synchronize" for package in LOKY} | {f"{DILL}.synchronize"}
    for name in ("multiprocessing.util", f"{DILL}.util"):
        for finalizer in _finalizers(name):
            if getattr(finalizer._callback, "__module__", "") in makers:
                with contextlib.suppress(Exception):  # Its errors are those of another package.
                    finalizer()


def unlink_semaphores_of(queue: Any) -> None:
    """Unlink the semaphores of a queue of `multiprocess`, which tells its own tracker so."""
    queues: Any = sys.modules.get(f"{DILL}.queues")
    if queues is None or not isinstance(queue, queues.Queue):
        return
    parts = list(vars(queue).values())
    parts += [inner for part in parts for inner in getattr(part, "__dict__", {}).values()]
    names = {getattr(getattr(part, "_semlock", None), "name", None) for part in parts} - {None}
    for finalizer in finalizers_of_dill():
        of_semaphore = getattr(finalizer._callback, "__module__", "") == f"{DILL}.synchronize"
        if of_semaphore and finalizer._args[0] in names:
            with contextlib.suppress(OSError):  # Somebody has unlinked it before.
                finalizer()


def _finalizers(name: str) -> list[Any]:
    if Feature.REGISTRY not in AVAILABLE:
        return []
    registry = getattr(sys.modules.get(name), "_finalizer_registry", {})
    return [finalizer for finalizer in list(registry.values()) if finalizer._pid == os.getpid()]
