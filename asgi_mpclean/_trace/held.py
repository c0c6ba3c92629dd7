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

    Key = tuple[str, object]

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
        unread: How many items a queue holds; 1 for those that nothing counts, which are all of a
            SimpleQueue, and on macOS what is in the pipe of a queue.
        feeding: Whether a queue has a feeder thread that the exit will wait for.
        pid: The process, of a Process.
        line: The same as `site`: file, line and function.
    """

    kind: str
    site: str | None = None
    thread: str | None = None
    names: tuple[str, ...] = ()
    unread: int = 0
    feeding: bool = False
    pid: int | None = None
    line: Site | None = dataclasses.field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        fields = {name: getattr(self, name) for name in _PLAIN}
        return fields | {"names": list(self.names)}

    def __str__(self) -> str:
        """Return it in words."""
        words = [f"{self.kind} made at {self.site or 'a line that was not traced'}"]
        if self.kind != MEMORY and self.names:
            words.append(f"{len(self.names)} semaphore{'' if len(self.names) == 1 else 's'}")
        if self.unread:
            words.append(f"{self.unread} unread item{'' if self.unread == 1 else 's'}")
        if self.feeding:
            words.append("a feeder thread")
        if self.pid is not None:
            words.append(f"process {self.pid}")
        return ", ".join(words)


_PLAIN = ("kind", "site", "thread", "unread", "feeding", "pid")


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
    return sorted(snapshot().values(), key=lambda leak: (leak.site or "", leak.kind))


def snapshot() -> dict[Key, Leak]:
    """Return the same, each thing by a key that stays the same for as long as it is held."""
    if "multiprocessing" not in sys.modules:
        return {}
    return dict([*_semaphores(), *_blocks(), *_children()])


def keys_held() -> set[Key]:
    """Return only the keys, which takes far less time."""
    if "multiprocessing" not in sys.modules:
        return set()
    making, names = _recorder("making"), _recorder("names")
    found: set[Key] = {("origin", origin.number) for origin in [*making.composites.values()]}
    for name in names.named_semaphores(sys.modules.get("multiprocessing.util")):
        origin = making.origin_of(name)
        is_part = origin is not None and origin.is_composite
        found.add(("origin", origin.number) if is_part else ("name", name))
    found |= {key for key, _ in _blocks()}
    return found | {("pid", process.pid) for process in names.children()}


def _recorder(name: str) -> Any:
    full = f"{_HOOK if _HOOK in sys.modules else _OWN}.{name}"
    return sys.modules.get(full) or importlib.import_module(full)


def _semaphores() -> Iterator[tuple[Key, Leak]]:
    making, names = _recorder("making"), _recorder("names")
    util: ModuleType | None = sys.modules.get("multiprocessing.util")
    parts: dict[int, list[str]] = {origin.number: [] for origin in making.composites.values()}
    for name, owner in names.named_semaphores(util).items():
        origin = making.origin_of(name)
        if origin is None:
            kind = type(owner).__name__ if owner is not None else "Semaphore"
            yield ("name", name), Leak(kind, names=(name,))
        elif origin.is_composite:
            parts.setdefault(origin.number, []).append(name)
        else:
            yield ("name", name), _leak(origin.kind, origin, (name,))
    for number, members in parts.items():
        origin = making.origins.get(number)
        if origin is not None:
            yield ("origin", number), _composite(origin, tuple(members), names)


def _composite(origin: Any, members: tuple[str, ...], names: Any) -> Leak:
    thing = origin.reference() if origin.reference is not None else None
    if not hasattr(thing, "get"):
        return _leak(origin.kind, origin, members)
    unread, feeding = names.unread(thing), names.feeds(thing)
    return _leak(origin.kind, origin, members, unread=unread, feeding=feeding)


def _blocks() -> Iterator[tuple[Key, Leak]]:
    for block in [*_recorder("making").blocks.values()]:
        if _is_there(block.name):  # It may have been unlinked when nothing was traced any more.
            yield ("block", block.name), _leak(MEMORY, block, (block.name,))


def _is_there(name: str) -> bool:
    # Wine has the folders of the system below it.
    if sys.platform != "win32" and os.path.isdir(SHM):
        return os.path.exists(os.path.join(SHM, name))
    return bool(_recorder("names").is_block_there(name))


def _children() -> Iterator[tuple[Key, Leak]]:
    started = _recorder("children").started
    for process in _recorder("names").children():
        if process.is_alive():
            site = _site(started.get(process.pid))
            shown = sites.shown(site) if site is not None else None
            yield ("pid", process.pid), Leak("Process", shown, pid=process.pid, line=site)


def _leak(kind: str, made: Any, members: tuple[str, ...], **more: Any) -> Leak:
    site = _site(made.site)
    shown = sites.shown(site) if site is not None else None
    return Leak(kind, shown, made.thread, members, line=site, **more)


def _site(site: tuple[str, int, str] | None) -> Site | None:
    return None if site is None else Site(*site)
