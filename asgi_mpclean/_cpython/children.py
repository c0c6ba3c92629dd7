"""Child processes from inside: whose child one is, which have ended, what runs in them first."""

from __future__ import annotations

import multiprocessing.process
import multiprocessing.util
import os
from typing import TYPE_CHECKING, Any, TypeVar

from .features import AVAILABLE, Feature

if TYPE_CHECKING:
    from collections.abc import Callable

_Owner = TypeVar("_Owner")
_process: Any = multiprocessing.process
_util: Any = multiprocessing.util


def is_child(process: Any) -> bool:
    """Tell whether this process is the one that may start, wait for and signal `process`."""
    if Feature.CHILDREN in AVAILABLE:
        return bool(process._parent_pid == os.getpid())
    try:
        process.is_alive()
    except (AssertionError, ValueError):
        return False
    return True


def is_reaped_by_fork_server(process: Any) -> bool:
    """Tell whether a child is the fork server's to reap; also where that is not known."""
    if Feature.REAPING not in AVAILABLE:
        return True
    return getattr(getattr(process, "_popen", None), "method", None) == "forkserver"


def ended_children() -> list[Any]:
    """Return the children that `multiprocessing.active_children` is going to forget now."""
    if Feature.CHILDREN not in AVAILABLE:
        return []
    children: set[Any] = _process._children
    return [child for child in children.copy() if _has_ended(child)]


def _has_ended(child: Any) -> bool:
    try:
        return child.exitcode is not None
    except Exception:  # noqa: BLE001 - a subclass can do anything
        return False


def when_worker_forked(owner: _Owner, callback: Callable[[_Owner], object]) -> None:
    """Call `callback` with `owner` in each worker by fork, before its code; where that is known.

    Args:
        owner: Referred to weakly.
        callback: What to call.
    """
    if Feature.FORKED_WORKERS in AVAILABLE:
        _util.register_after_fork(owner, callback)
