"""What is made: semaphores, what they are part of, and shared memory.

A named semaphore carries its origin in its name: "/mp-abcdefgh" becomes "/mp-12345678.PID.NUMBER",
and the journal has what the number stands for: kind, line and thread. So the resource tracker,
which names what leaked, names the line as well, and nothing has to be written for each lock: that
would cost more than the making of a lock may. A composite, such as a queue, has a number of its own
for all that is made inside it.
"""

from __future__ import annotations

import collections
import functools
import itertools
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
    "queues": ("Queue", "JoinableQueue", "SimpleQueue"),
    "synchronize": ("Condition", "Event", "Barrier"),
    "pool": ("Pool",),
    "process": ("ProcessPoolExecutor",),
}
"""The classes that make semaphores as parts of themselves."""

KEPT = 1000
"""So many composites are known after they are gone."""


class Origin:
    """What one line makes: its kind, and the thread; of a composite, one only."""

    __slots__ = (
        "is_composite",
        "kind",
        "number",
        "reference",
        "site",
        "suffix",
        "thread",
        "unread",
    )

    def __init__(self, kind: str, site: Site | None, *, is_composite: bool = False) -> None:
        self.kind = kind
        self.site = site
        self.thread = names.thread_name()
        self.is_composite = is_composite
        self.reference: weakref.ref[Any] | None = None
        self.unread = 0
        self.number = journal.new_number()
        self.suffix = f".{os.getpid()}.{self.number}"
        fields = (int(is_composite), kind, site_number(site), journal.escape(self.thread))
        journal.write("origin", self.number, *fields)
        origins[self.number] = self


class _Here(threading.local):
    """What this thread is making, and the lines that it has made locks at."""

    composite: Origin | None = None

    def __init__(self) -> None:
        self.known: dict[tuple[int, int, int], tuple[Any, str]] = {}


class Block:
    """A block of shared memory."""

    __slots__ = ("name", "reference", "site", "thread")

    def __init__(self, memory: Any, site: Site | None) -> None:
        self.name: str = memory.name
        self.site = site
        self.thread = names.thread_name()
        self.reference = weakref.ref(memory, _forget_block)


_here = _Here()
origins: dict[int, Origin] = {}
"""What this process has made, by the number that is in the names."""
_gone: collections.deque[int] = collections.deque()
# By the identity of the reference, as a class of the program's may have no hash.
composites: dict[int, Origin] = {}
"""The composites that this process has made and still has."""
blocks: dict[int, Block] = {}
"""The shared memory that this process has made and still has."""


def current_composite() -> Origin | None:
    """Return the composite that this thread is making."""
    return _here.composite


def origin_of(name: str) -> Origin | None:
    """Return what this process knows of a semaphore with a name."""
    whole, _, number = name.rpartition(".")
    if not number.isdecimal() or not whole.endswith(f".{os.getpid()}"):
        return None
    return origins.get(int(number))


def site_number(site: Site | None) -> int:
    """Return the number of a line in the journal, 0 for none."""
    if site is None:
        return 0
    return journal.number("site", site, site[0], str(site[1]), site[2])


def forget() -> None:
    """Begin anew, as after a fork: what the parent has made is the parent's."""
    _here.composite = None
    _here.known = {}
    origins.clear()
    composites.clear()
    blocks.clear()


def watch_composites(module: ModuleType) -> list[Callable[[], None]]:
    """Note the making of a module's composites; functions that undo it come back."""
    found = COMPOSITES[module.__name__.rpartition(".")[2]]
    classes = [getattr(module, name, None) for name in found]
    return [_wrap(cls, "__init__", _composite) for cls in classes if cls is not None]


def watch_semaphores(module: ModuleType) -> list[Callable[[], None]]:
    """Give every named semaphore a name that tells its origin."""
    semaphore = module.SemLock
    if not names.makes_names(semaphore):
        return [_wrap(semaphore, "__init__", _noting_name)]
    found = semaphore.__dict__["_make_name"]
    changed = staticmethod(_name_maker())
    semaphore._make_name = changed  # noqa: SLF001 - it is there

    def undo() -> None:
        if semaphore.__dict__.get("_make_name") is changed:  # Or somebody has changed it since.
            semaphore._make_name = found  # noqa: SLF001

    return [undo]


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


def _name_maker() -> Callable[[], str]:
    """Return what makes the names: it does all that is done for each single lock."""
    getframe, here, inside, prefix = names.getframe, _here, sites.inside, names.prefix
    # Counted from a random number: to draw each name anew would take longer than all of this.
    counter = itertools.count(int.from_bytes(os.urandom(4), "little"))

    def make_name() -> str:
        name = f"{prefix()}-{next(counter) % 100_000_000:08}"
        try:
            if here.composite is not None:
                return name + here.composite.suffix
            # Two frames of SemLock's and Lock's `__init__`, and that of `context.Lock()`.
            last = frame = getframe(2)
            while inside[frame.f_code.co_filename]:
                last = frame
                frame = frame.f_back
            key = (id(frame.f_code), frame.f_lasti, id(last.f_code))
            return name + here.known[key][1]
        except Exception:  # noqa: BLE001 - nothing is known yet, or it never will be
            return name + _suffix(getframe(2))

    return make_name


def _suffix(frame: Any) -> str:
    """Return what a lock's name ends with, that is made by a line for the first time."""
    try:
        site, last, outer = sites.find(frame)
        # `Value(...)`, `Array(...)` and `Lock()` are methods of a context, else it is a class's.
        kind = last.f_code.co_name if last is not None else "SemLock"
        if not kind[:1].isupper():
            kind = type(last.f_locals.get("self")).__name__
        origin = Origin(kind, site)
        if last is not None and outer is not None:
            key = (id(outer.f_code), outer.f_lasti, id(last.f_code))
            # The code is kept, or another could have its identity.
            _here.known[key] = ((outer.f_code, last.f_code), origin.suffix)
    except Exception as error:  # noqa: BLE001 - the program has its lock
        journal.fail("_suffix", error)
        return ""
    return origin.suffix


def _noting_name(found: Callable[..., None]) -> Callable[..., None]:
    """Note the name of each semaphore, on a Python where it cannot tell its origin."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - stands for it
        found(self, *args, **kwargs)
        name = names.semaphore_name(self)
        if name is not None:
            journal.guarded(_note_name, name, names.getframe(1))

    return __init__


def _note_name(name: str, frame: Any) -> None:
    suffix = _here.composite.suffix if _here.composite is not None else _suffix(frame)
    if suffix:
        journal.write("sem", name, suffix.rpartition(".")[2])


def _composite(found: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - stands for it
        if _here.composite is not None:
            found(self, *args, **kwargs)
            return
        journal.guarded(_begin_composite, self, names.getframe(1))
        composite = _here.composite
        try:
            found(self, *args, **kwargs)
        finally:
            _here.composite = None
        journal.guarded(_keep_composite, composite, self)

    return __init__


def _begin_composite(thing: Any, frame: Any) -> None:
    _here.composite = Origin(type(thing).__name__, sites.find(frame)[0], is_composite=True)


def _keep_composite(composite: Origin | None, thing: Any) -> None:
    if composite is not None:
        composite.reference = weakref.ref(thing, _forget_composite)
        composites[id(composite.reference)] = composite


def _memory(found: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - stands for it
        found(self, *args, **kwargs)
        if args[1] if len(args) > 1 else kwargs.get("create"):
            journal.guarded(_note_memory, self, names.getframe(1))

    return __init__


def _note_memory(memory: Any, frame: Any) -> None:
    block = Block(memory, sites.find(frame)[0])
    blocks[id(block.reference)] = block
    journal.write("shm", block.name, site_number(block.site), journal.escape(block.thread))


def _unlinked(found: Callable[..., None]) -> Callable[..., None]:
    def unlink(self: Any) -> None:
        found(self)
        journal.guarded(_note_unlinked, self.name)

    return unlink


def _note_unlinked(name: str) -> None:
    for key, block in [*blocks.items()]:
        if block.name == name:
            blocks.pop(key, None)


def _forget_composite(reference: weakref.ref[Any]) -> None:
    origin = composites.pop(id(reference), None)
    if origin is not None:
        # Its feeder thread may have the semaphores for a moment longer.
        _gone.append(origin.number)
        if len(_gone) > KEPT:
            origins.pop(_gone.popleft(), None)


def _forget_block(reference: weakref.ref[Any]) -> None:
    blocks.pop(id(reference), None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
