"""Numbers that change when something of multiprocessing gets on."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import multiprocessing.process
from typing import Any

from .features import AVAILABLE, Feature

_process: Any = multiprocessing.process


def living_children() -> frozenset[int]:
    """Return the pids of the children that have not ended, without reaping those that have.

    The app may be waiting for one of them, and would not learn its exit code.
    """
    if Feature.CHILDREN not in AVAILABLE:
        return frozenset()
    pids: dict[Any, int] = {}
    for child in _process._children.copy():
        with contextlib.suppress(ValueError):  # It has been closed.
            pids[child.sentinel] = child.pid
    try:
        ended = multiprocessing.connection.wait(list(pids), 0)
    except (OSError, ValueError):  # A handle was closed behind our back.
        ended = []
    return frozenset(pids.values()) - {pids[handle] for handle in ended}


def pool_progress(pool: Any) -> tuple[int, ...]:
    """Return how many results of a pool have not come, and how many parts of each."""
    if Feature.RESULTS not in AVAILABLE:
        return ()
    results = list(pool._cache.copy().values())
    parts = [int(getattr(r, "_number_left", 0) or getattr(r, "_index", 0)) for r in results]
    return (len(results), *parts)


def executor_progress(executor: Any) -> int:
    """Return how many jobs of an executor have not ended."""
    if Feature.EXECUTORS not in AVAILABLE:
        return 0
    return len(executor._pending_work_items)
