"""What an app has registered, and in which process it did."""

from __future__ import annotations

import dataclasses
import inspect
import linecache
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

from . import _cpython, _memory, _options, _shutdown, _signals
from ._kinds import CONNECTION, EXECUTOR, KINDS, LOCK, MEMORY, PROCESS, QUEUE, Entry, kind_of
from ._plan import Plan
from ._process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from ._kinds import Kind
    from ._report import CleanupReport

T = TypeVar("T")

# So many entries are kept before the first look for some that have ended by themselves.
PRUNE_AT = 64

# The time (seconds) that closing what came too late may take.
DISCARD = 1.0


class Registry:
    """The resources of an app that are to be drained, closed and unlinked at its end.

    It belongs to the process that filled it: in a forked child it is empty. As a `with` block it
    cleans up at the end of the block.
    """

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._shutting_down = False
        self._prune_at = PRUNE_AT
        self._guard: _signals.Watch | None = None
        _shutdown.watch_registry(self)

    def register(
        self,
        resource: T,
        *,
        name: str | None = None,
        on_item: Callable[[Any], object] | None = None,
        stop: Callable[[], object] | None = None,
    ) -> T:
        """Have a resource cleaned up at the end of the app.

        In the main thread, this also guards a SIGTERM that nobody handles: it cleans up before it
        kills. Registering the same resource again replaces the options that are given then.

        Args:
            resource: Anything that `multiprocessing` makes, of any context: queues, processes,
                locks and what is made of them, pools, managers, shared memory, connections and
                listeners; a `ProcessPoolExecutor`; what was added by `add_kind`.
            name: What logs and the report call it; by default the line that registered it.
            on_item: For a queue or a connection: called in order with each item that is left in
                it. It runs in a thread of its own, unless it only stores as `list.append` does,
                and is not waited for past the deadline.
            stop: For a process, a pool or an executor: asks it to end, before signals are used.

        Returns:
            The resource.

        Raises:
            TypeError: If it is something else, or an option is not callable or not a string.
            ValueError: If an option does not fit the kind of resource.
            RuntimeError: While a clean-up is under way; the resource has been closed then.
        """
        kind = kind_of(resource)
        _check_options(kind, name=name, on_item=on_item, stop=stop)
        if _shutdown.DISABLED:
            return resource
        if self._shutting_down:
            _discard(Entry(resource, kind, ""))
            msg = f"cannot register {resource!r} while a clean-up is under way; it was closed"
            raise RuntimeError(msg)
        known = self._entries.get(id(resource))
        if known is None:
            self._prune()
            # Noted now, as the end is where time counts.
            semaphores = _cpython.semaphore_names_of(resource) if kind is QUEUE else None
            known = Entry(resource, kind, "", semaphores=semaphores)
        # A new entry, as a clean-up may have begun with the one before.
        self._entries[id(resource)] = dataclasses.replace(
            known,
            name=name or known.name or _default_name(resource, kind),
            on_item=known.on_item if on_item is None else on_item,
            stop=known.stop if stop is None else stop,
        )
        if kind is MEMORY:
            _memory.note(resource)
        _shutdown.clean_at_exit()
        self._guard_signals()
        return resource

    def clean(self, timeout: float = 5.0, *, discover: bool = False) -> CleanupReport:
        """Clean up what is registered, now.

        Args:
            timeout: Seconds that it may take.
            discover: Clean up also what was not registered, as when the process goes away.

        Returns:
            What was done.

        Raises:
            ValueError: If `timeout` is not a finite number above zero.
        """
        _options.check_timeout(timeout)
        return _shutdown.clean_up(self, trigger="clean()", timeout=timeout, discover=discover)

    def Process(self, *args: Any, **kwargs: Any) -> Process:  # noqa: N802 - as multiprocessing's
        """Make a `Process` that is registered here; takes the arguments of `Process`."""
        return Process(*args, registry=self, **kwargs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clean()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the registered resources, in the order of their registration."""
        return iter([entry.resource for entry in list(self._entries.values())])

    def __contains__(self, resource: object) -> bool:
        return id(resource) in self._entries

    def __bool__(self) -> bool:
        """An empty registry is a registry."""
        return True

    # For the shutdown ---------------------------------------------------------------------------

    @property
    def has_executors(self) -> bool:
        """Whether Python would wait at its exit for the jobs of something registered."""
        return any(entry.kind is EXECUTOR for entry in list(self._entries.values()))

    def take_executors(self) -> list[Entry]:
        """Hand over the executors alone."""
        taken = [entry for entry in list(self._entries.values()) if entry.kind is EXECUTOR]
        for entry in taken:
            self._entries.pop(id(entry.resource), None)
        return taken

    def begin_shutdown(self) -> list[Entry]:
        """Refuse registrations from now on, and hand over what is registered."""
        self._shutting_down = True
        entries = list(self._entries.values())
        self._entries.clear()
        return entries

    def end_shutdown(self) -> None:
        """Accept registrations again, and leave the signals alone until then."""
        self._shutting_down = False
        self.leave_signals()

    def leave_signals(self) -> None:
        """Take the guard away, once it guards nothing any more and nothing stands on it."""
        if self._guard is not None and not self._entries and self._guard.restore_if_on_top():
            self._guard = None

    def forget(self) -> None:
        """Be empty, as in a forked child, where all that is registered belongs to the parent."""
        self._entries.clear()
        self._shutting_down = False
        self._guard = None

    def check_open(self) -> None:
        """Raise RuntimeError if a clean-up is under way."""
        if self._shutting_down:
            msg = "cannot start a process while a clean-up is under way"
            raise RuntimeError(msg)

    def _guard_signals(self) -> None:
        if self._guard is None:
            watch = _signals.Watch(_shutdown.clean_at_signal)
            watch.guard(_signals.FATAL)
            self._guard = watch if watch.active else None

    def _prune(self) -> None:
        """Let go of what has ended and nobody else refers to: a script may register for ever."""
        if len(self._entries) < self._prune_at:
            return
        for key in list(self._entries):
            if _is_spent(self._entries[key]):
                del self._entries[key]
        self._prune_at = max(PRUNE_AT, 2 * len(self._entries))


def _check_options(kind: Kind, *, name: object, on_item: object, stop: object) -> None:
    if name is not None and not isinstance(name, str):
        msg = f"name must be a string, not {name!r}"
        raise TypeError(msg)
    for option, value in (("on_item", on_item), ("stop", stop)):
        _options.check_callback(option, value)
        if value is not None and option not in kind.options:
            fitting = ", ".join(other.name for other in KINDS if option in other.options)
            msg = f"{option}= is for these kinds: {fitting}; what is registered is a {kind.name}"
            raise ValueError(msg)


def _default_name(resource: Any, kind: Kind) -> str:
    """Return a process's own name, or else what and where the registering line says."""
    if kind is PROCESS:
        return str(resource.name)
    frame = inspect.currentframe()
    here = os.path.dirname(__file__)
    while frame is not None and os.path.dirname(frame.f_code.co_filename) == here:
        frame = frame.f_back
    if frame is None:
        return kind.name
    path, line = frame.f_code.co_filename, frame.f_lineno
    place = f"{os.path.basename(path)}:{line}"
    source = linecache.getline(path, line)
    found = ASSIGNED.search(source) or REGISTERED.search(source)
    alone = source.count("register(") == 1
    return f"{found[1]} ({place})" if found and alone else place


# `jobs = register(...)`, or `register(jobs)`.
ASSIGNED = re.compile(r"^\s*([\w.]+)\s*(?::[^=]*)?=[^=]")
REGISTERED = re.compile(r"register\(\s*([A-Za-z_][\w.]*)\s*[,)]")


def _is_spent(entry: Entry) -> bool:
    # Two references: the entry's own, and that of the call.
    unused = sys.getrefcount(entry.resource) <= 2  # noqa: PLR2004
    if entry.kind is PROCESS:
        try:
            return (unused and entry.resource.pid is None) or entry.resource.exitcode is not None
        except ValueError:
            return True
    if entry.kind is QUEUE:
        if _cpython.is_closed(entry.resource):
            return _cpython.backlog_size(entry.resource) == 0
        return unused and not _cpython.backlog_size(entry.resource) and entry.resource.empty()
    if entry.kind is CONNECTION:
        return bool(entry.resource.closed)
    return unused and entry.kind is LOCK


def _discard(entry: Entry) -> None:
    """Close a resource that came too late to be registered."""
    if entry.kind is not PROCESS:
        Plan(
            [entry],
            trigger="register()",
            start=time.monotonic(),
            timeout=DISCARD,
            discover=False,
            going_away=False,
        ).run()


default_registry = Registry()
