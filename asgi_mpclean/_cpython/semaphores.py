"""Semaphores from inside: who made them, and how they are unlinked."""

from __future__ import annotations

import multiprocessing
import multiprocessing.queues
import multiprocessing.synchronize
import multiprocessing.util
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from .features import AVAILABLE, Feature
from .fork import PerProcess
from .queues import readable_fd
from .tracker import unregister
from .windows import maker_of_pipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_sync: Any = multiprocessing.synchronize
_util: Any = multiprocessing.util

try:
    from _multiprocessing import (  # type: ignore[import-not-found]  # no stub
        sem_unlink as _sem_unlink,
    )
except ImportError:  # pragma: no cover - Windows has no named semaphores to unlink
    _sem_unlink = None

# The number of names that the tracker is told at once; it works while the next are unlinked.
HANDFUL = 100

# What Python begins the name of a semaphore with, unless it is told otherwise, and how it ends.
DEFAULT_PREFIX = "/mp"
RANDOM = r"[a-z0-9_]{8}"
# What `asgi-mpclean trace` adds to it: the pid and the number of the line that made it.
ORIGIN = r"(?:\.\d+\.\d+)?"


class _Inheritance(PerProcess):
    """Which objects were made before the last fork: their place in the after-fork registry."""

    below: int

    def reset(self, *, forked: bool) -> None:
        self.below = 0
        if forked and Feature.DISCOVERY in AVAILABLE:
            keys = list(_util._afterfork_registry.data)
            self.below = max((key[0] for key in keys), default=-1) + 1


_inherited = _Inheritance()


class Snapshot:
    """What multiprocessing made in this process, looked up once for a whole clean-up.

    A look into the finalizer registry for each queue would make a clean-up quadratic.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._finalizers: dict[str, Any] = {}
        self._made_here: set[int] | None = None
        if Feature.SEMAPHORES in AVAILABLE:
            pid, cleanup = self._pid, _sync.SemLock._cleanup
            self._finalizers = {
                finalizer._args[0]: finalizer
                for finalizer in list(_util._finalizer_registry.values())
                if finalizer._callback is cleanup and finalizer._pid == pid
            }

    @property
    def names(self) -> set[str]:
        """The named semaphores that this process made and has not unlinked."""
        return set(self._finalizers)

    def owns(self, resource: Any) -> bool:
        """Tell whether this process made `resource`, rather than inherited or unpickled it."""
        maker = getattr(resource, "_opid", None)
        if maker is not None:
            return bool(maker == self._pid)
        semaphores = semaphores_of(resource)
        if not semaphores:
            return sys.platform != "win32" or _made_pipe(resource)
        name = _name(semaphores[0])
        if name is not None and name in self._finalizers:
            return True
        # One without a name is of the fork context, where copies are inherited, not unpickled.
        return name is None and id(semaphores[0]) in self._objects_made_here()

    def _objects_made_here(self) -> set[int]:
        if self._made_here is None:
            known = list(_util._afterfork_registry.data) if Feature.DISCOVERY in AVAILABLE else ()
            self._made_here = {key[1] for key in known if key[0] >= _inherited.below}
        return self._made_here

    def claim(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that are ours to unlink, each to one caller only."""
        claimed = []
        for name in names:
            finalizer = self._finalizers.pop(name, None)
            # Taking the key out is one step (see `gil`), and makes the finalizer a no-op at exit.
            if finalizer is not None and _util._finalizer_registry.pop(finalizer._key, None):
                claimed.append(name)
        return claimed


def _made_pipe(queue: Any) -> bool:
    """Tell whether this process made a queue, by its pipe, as Windows names no semaphore.

    Queues are handed on to children alone. Where Windows does not tell a child who has made the
    pipe, it leaves the queue to its parent.
    """
    fd = readable_fd(queue)
    # A lock has no pipe, and a closed queue nothing that matters.
    return (
        fd is None or multiprocessing.parent_process() is None or maker_of_pipe(fd) == os.getpid()
    )


def _name(semaphore: Any) -> str | None:
    name: str | None = getattr(semaphore._semlock, "name", None)
    return name


def semaphores_of(resource: Any) -> list[Any]:
    """Return the semaphores inside a queue, a lock-like object, a Value or an Array."""
    if Feature.SEMAPHORES not in AVAILABLE:
        return []
    if isinstance(resource, _sync.SemLock):
        return [resource]
    if hasattr(resource, "get_lock"):
        return semaphores_of(resource.get_lock())
    inside = vars(resource).values() if hasattr(resource, "__dict__") else ()
    found = [thing for thing in inside if isinstance(thing, _sync.SemLock)]
    for thing in inside:
        if isinstance(thing, _MADE_OF_SEMAPHORES):
            found += semaphores_of(thing)
    return list(dict.fromkeys(found))


_MADE_OF_SEMAPHORES = (
    _sync.Condition,
    _sync.Event,
    multiprocessing.queues.Queue,  # in a pool or an executor
    multiprocessing.queues.SimpleQueue,
)


def semaphore_names_of(resource: Any) -> list[str]:
    """Return the names of the semaphores inside `resource`, those without a name left out."""
    return [name for name in map(_name, semaphores_of(resource)) if name is not None]


def is_pythons_name(name: str) -> bool:
    """Tell whether a semaphore has a name as Python makes it up in this process and its workers.

    One that somebody has named by hand may be meant to stay, and one of another library, such as
    loky, belongs to a tracker of that.
    """
    prefix = DEFAULT_PREFIX
    if Feature.SEMAPHORE_NAMES in AVAILABLE:
        process: Any = multiprocessing.current_process()
        prefix = process._config.get("semprefix", DEFAULT_PREFIX)
    own = name[len(prefix) + 1 :] if name.startswith(f"{prefix}-") else ""
    return re.fullmatch(RANDOM + ORIGIN, own) is not None


def unlink_semaphores(names: Sequence[str], *, known: bool = True) -> int:
    """Unlink semaphores and tell the resource tracker; returns how many were still there.

    Takes no lock, so that it may run in a signal handler: the tracker's own `unregister` can
    deadlock there. The tracker reads `UNREGISTER:name:semaphore` lines in every version.

    Args:
        names: Those of the semaphores.
        known: False if the tracker may never have heard of them.
    """
    unlinked = 0
    for begin in range(0, len(names), HANDFUL):
        done = []
        for name in names[begin : begin + HANDFUL]:
            try:
                _sem_unlink(name)
            except FileNotFoundError:
                unlinked -= 1  # It was unlinked before; the tracker must be told all the same.
            except OSError:
                continue
            done.append(name)
        unlinked += len(done)
        unregister(done, "semaphore", known=known)
    return unlinked
