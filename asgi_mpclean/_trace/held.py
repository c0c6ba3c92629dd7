"""`trace()` and `leaks()`: what this process holds now, and which lines made it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from asgi_mpclean._inject.waiting import when_imported

from . import sites
from .reading import MEMORY, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_HOOK = "_asgi_mpclean_recorder"
"""The recorder where the whole program runs under `asgi-mpclean trace`; else it is ours."""

_OWN = "asgi_mpclean._trace.recorder"
SHM = "/dev/shm"


@dataclasses.dataclass(frozen=True)
class Leak:
    """Something of multiprocessing that this process has made and still holds.

    Attributes:
        kind: What it is, such as Queue, Lock, SharedMemory or Process.
        site: The line that made it, such as "app.py:12"; None where it was not traced.
        thread: The name of the thread that made it; None where it was not traced.
        names: Its named semaphores, or its block of shared memory.
        unread: How many items a queue holds; for a SimpleQueue 1 if there are any.
        feeding: Whether a queue has a feeder thread that the exit will wait for.
        pid: The process, of a Process.
    """

    kind: str
    site: str | None = None
    thread: str | None = None
    names: tuple[str, ...] = ()
    unread: int = 0
    feeding: bool = False
    pid: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dataclasses.asdict(self) | {"names": list(self.names)}

    def __str__(self) -> str:
        """Return it in words."""
        words = [f"{self.kind} made at {self.site or 'a line that was not traced'}"]
        if self.kind != MEMORY and self.names:
            words.append(f"{len(self.names)} semaphore{'' if len(self.names) == 1 else 's'}")
        if self.unread:
            words.append(f"{self.unread} unread item{'' if self.unread == 1 else 's'}")
        if self.pid is not None:
            words.append(f"process {self.pid}")
        return ", ".join(words)


class _Tracing:
    """How many have asked for it, and what ends it."""

    lock = threading.Lock()
    users = 0
    session: Any = None


@contextlib.contextmanager
def trace() -> Iterator[None]:
    """Note the line that makes each multiprocessing resource of this process.

    What is made meanwhile is known to `leaks` by its line for as long as it is held. The names of
    semaphores get a suffix. Several may be open, one in another or in different threads.

    Yields:
        Nothing.
    """
    with _Tracing.lock:
        _Tracing.users += 1
        if _Tracing.users == 1 and _HOOK not in sys.modules:
            _Tracing.session = _recorder("begin").begin(when_imported)
    try:
        yield
    finally:
        with _Tracing.lock:
            _Tracing.users -= 1
            if not _Tracing.users and _Tracing.session is not None:
                _Tracing.session.end()
                _Tracing.session = None


def leaks() -> list[Leak]:
    """Return what this process has made of multiprocessing and holds now.

    These are its named semaphores and what they belong to, its shared memory, its child processes,
    and its queues; without `trace`, only what multiprocessing itself knows of, without lines. A
    leak it is if the process should not hold it any more.

    Returns:
        A record of each thing; those of the same line stand together.
    """
    if "multiprocessing" not in sys.modules:
        return []
    found = [*_semaphores(), *_blocks(), *_children()]
    return sorted(found, key=lambda leak: (leak.site or "", leak.kind))


def _recorder(name: str) -> Any:
    return importlib.import_module(f"{_HOOK if _HOOK in sys.modules else _OWN}.{name}")


def _semaphores() -> Iterator[Leak]:
    making, names = _recorder("making"), _recorder("names")
    util: ModuleType | None = sys.modules.get("multiprocessing.util")
    parts: dict[int, list[str]] = {origin.number: [] for origin in making.composites.values()}
    for name, owner in names.named_semaphores(util).items():
        origin = making.origin_of(name)
        if origin is None:
            yield Leak(type(owner).__name__ if owner is not None else "Semaphore", names=(name,))
        elif origin.is_composite:
            parts.setdefault(origin.number, []).append(name)
        else:
            yield Leak(origin.kind, _shown(origin.site), origin.thread, (name,))
    for number, members in parts.items():
        origin = making.origins.get(number)
        if origin is not None:
            yield _composite(origin, tuple(members), names)


def _composite(origin: Any, members: tuple[str, ...], names: Any) -> Leak:
    thing = origin.reference() if origin.reference is not None else None
    is_queue = hasattr(thing, "get")
    return Leak(
        origin.kind,
        _shown(origin.site),
        origin.thread,
        members,
        unread=names.unread(thing) if is_queue else 0,
        feeding=is_queue and names.feeds(thing),
    )


def _blocks() -> Iterator[Leak]:
    for block in [*_recorder("making").blocks.values()]:
        # What is unlinked when nothing is traced any more can be seen on Linux only.
        if not os.path.isdir(SHM) or os.path.exists(os.path.join(SHM, block.name)):
            yield Leak(MEMORY, _shown(block.site), block.thread, (block.name,))


def _children() -> Iterator[Leak]:
    started = _recorder("children").started
    for process in _recorder("names").children():
        if process.is_alive():
            yield Leak("Process", _shown(started.get(process.pid)), pid=process.pid)


def _shown(site: tuple[str, int, str] | None) -> str | None:
    return None if site is None else sites.shown(Site(*site))
