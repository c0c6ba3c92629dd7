"""What is made: semaphores, what they are part of, and shared memory.

The classes' `__init__` are wrapped. A composite such as a queue notes its line once; the semaphores
that are made inside it refer to that, and only a lock by itself walks the frames.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref

from . import journal, names, sites

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from .sites import Site

COMPOSITES = {
    "multiprocessing.queues": ("Queue", "JoinableQueue", "SimpleQueue"),
    "multiprocessing.synchronize": ("Condition", "Event", "Barrier"),
    "multiprocessing.pool": ("Pool",),
    "concurrent.futures.process": ("ProcessPoolExecutor",),
}
"""The classes that make semaphores as parts of themselves."""


class Part:
    """A composite: what it is, and where it was made."""

    __slots__ = ("has_unread", "kind", "number", "reference", "site", "thread")

    def __init__(self, kind: str, site: Site | None) -> None:
        self.kind = kind
        self.site = site
        self.thread = names.thread_name()
        self.number = journal.new_number()
        self.reference: weakref.ref[Any] | None = None
        self.has_unread = False

    def written(self) -> int:
        """Return its number in the journal, where it is written once."""
        fields = (self.kind, str(site_number(self.site)), str(thread_number(self.thread)))
        return journal.number("part", (Part, self.number), *fields)


class Made:
    """A semaphore or a block of shared memory."""

    __slots__ = ("kind", "name", "part", "reference", "site", "thread")

    def __init__(
        self,
        thing: Any,
        kind: str,
        name: str | None,
        site: Site | None,
        thread: str,
        *,
        part: Part | None = None,
    ) -> None:
        self.reference = weakref.ref(thing, _forget_made)
        self.kind = kind
        self.name = name
        self.site = site
        self.part = part
        self.thread = thread


class _Here(threading.local):
    """What this thread is making."""

    part: Part | None = None


_here = _Here()
# By the identity of the reference, as a class of the program's may have no hash.
parts: dict[int, Part] = {}
"""The composites that this process has made and still has."""
made: dict[int, Made] = {}
"""The semaphores and blocks of shared memory that this process has made and still has."""


def current_part() -> Part | None:
    """Return the composite that this thread is making."""
    return _here.part


def site_number(site: Site | None) -> int:
    """Return the number of a line in the journal, 0 for none."""
    if site is None:
        return 0
    return journal.number("site", site, site[0], str(site[1]), site[2])


def thread_number(thread: str) -> int:
    """Return the number of a thread's name in the journal."""
    return journal.number("thread", thread, thread)


def forget() -> None:
    """Begin anew, as after a fork: what the parent has made is the parent's."""
    _here.part = None
    parts.clear()
    made.clear()


def watch_composites(module: ModuleType) -> list[Callable[[], None]]:
    """Note the making of a module's composites; functions that undo it come back."""
    classes = [getattr(module, name, None) for name in COMPOSITES[module.__name__]]
    return [_wrap(cls, "__init__", _composite) for cls in classes if cls is not None]


def watch_semaphores(module: ModuleType) -> list[Callable[[], None]]:
    """Note the making of every semaphore."""
    return [_wrap(module.SemLock, "__init__", _semaphore)]


def watch_memory(module: ModuleType) -> list[Callable[[], None]]:
    """Note the making and the unlinking of shared memory."""
    return [
        _wrap(module.SharedMemory, "__init__", _memory),
        _wrap(module.SharedMemory, "unlink", _unlinked),
    ]


def _wrap(
    cls: Any, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[[], None]:
    found = cls.__dict__[name]
    changed = functools.wraps(found)(wrapper(found))
    setattr(cls, name, changed)

    def undo() -> None:
        if cls.__dict__.get(name) is changed:  # Or somebody else has wrapped it since.
            setattr(cls, name, found)

    return undo


def _composite(found: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - stands for it
        if _here.part is not None:
            found(self, *args, **kwargs)
            return
        journal.guarded(_begin_part, self, names.getframe(1))
        part = _here.part
        try:
            found(self, *args, **kwargs)
        finally:
            _here.part = None
        journal.guarded(_keep_part, part, self)

    return __init__


def _begin_part(thing: Any, frame: Any) -> None:
    _here.part = Part(type(thing).__name__, sites.find(frame)[0])


def _keep_part(part: Part | None, thing: Any) -> None:
    if part is not None:
        part.reference = weakref.ref(thing, _forget_part)
        parts[id(part.reference)] = part


def _semaphore(found: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - stands for it
        found(self, *args, **kwargs)
        journal.guarded(_note_semaphore, self, names.getframe(1))

    return __init__


def _note_semaphore(thing: Any, frame: Any) -> None:
    name = names.semaphore_name(thing)
    part = _here.part
    if part is None:
        site, inside = sites.find(frame)
        # `Value(...)`, `Array(...)` and `Lock()` are methods of a context.
        kind = inside.co_name if inside is not None else ""
        kind = kind if kind[:1].isupper() else type(thing).__name__
        thread = names.thread_name()
    else:
        site, kind, thread = part.site, type(thing).__name__, part.thread
    lock = Made(thing, kind, name, site, thread, part=part)
    made[id(lock.reference)] = lock
    # One without a name is gone with the last process that has it: it cannot leak.
    if name is not None and journal.is_on():
        number = part.written() if part is not None else 0
        journal.write("sem", name, kind, site_number(site), number, thread_number(thread))


def _memory(found: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - stands for it
        found(self, *args, **kwargs)
        if args[1] if len(args) > 1 else kwargs.get("create"):
            journal.guarded(_note_memory, self, names.getframe(1))

    return __init__


def _note_memory(thing: Any, frame: Any) -> None:
    site, _ = sites.find(frame)
    block = Made(thing, "SharedMemory", thing.name, site, names.thread_name())
    made[id(block.reference)] = block
    journal.write("shm", thing.name, site_number(site), thread_number(block.thread))


def _unlinked(found: Callable[..., None]) -> Callable[..., None]:
    def unlink(self: Any) -> None:
        found(self)
        journal.guarded(_note_unlinked, self.name)

    return unlink


def _note_unlinked(name: str) -> None:
    for key, block in [*made.items()]:
        if block.name == name:
            made.pop(key, None)


def _forget_part(reference: weakref.ref[Any]) -> None:
    parts.pop(id(reference), None)


def _forget_made(reference: weakref.ref[Any]) -> None:
    made.pop(id(reference), None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
