"""What all kinds of resources have in common: `Kind`, `Entry` and `Closer`."""

from __future__ import annotations

import contextlib
import sys
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgi_mpclean._cpython.semaphores import Snapshot
    from asgi_mpclean._items.calls import Call
    from asgi_mpclean._items.delivery import Deliveries
    from asgi_mpclean._items.runner import Runner
    from asgi_mpclean._report import ResourceReport

NO_OPTIONS: frozenset[str] = frozenset()
ITEMS = frozenset({"on_item"})
STOP = frozenset({"stop"})


def never(_entry: Entry) -> bool:
    """Return False: for this kind, nothing tells that a resource is spent."""
    return False


def is_unused(entry: Entry) -> bool:
    """Tell whether nobody else refers to a resource."""
    return sys.getrefcount(entry.resource) <= 2  # noqa: PLR2004 - the entry's and this call's references


def nothing(_resource: Any) -> None:
    """Do nothing when a resource is registered."""


class Kind(NamedTuple):
    """A kind of resource.

    Attributes:
        name: What messages call it.
        types: The full names of its classes, so that nothing has to be imported; or a class, if it
            was added by `add_kind`.
        closer: Makes the closer of a resource.
        options: Which of the options `on_item` and `stop` it can be registered with.
        is_spent: Tells whether one has ended, so that a registry may let go of it.
        note: Called with a resource that is registered, to remember facts about it for the end.
    """

    name: str
    types: tuple[str | type, ...]
    closer: Callable[[Entry, ResourceReport, Context], Any]
    options: frozenset[str] = NO_OPTIONS
    is_spent: Callable[[Entry], bool] = never
    note: Callable[[Any], None] = nothing


class Entry:
    """A registered or discovered resource with its options.

    Args:
        resource: The resource.
        kind: Its kind.
        name: What logs and the report call it.
        on_item: Receives the items that are left in it.
        stop: Asks it to end.
        registered: False for what was discovered.
        semaphores: The names of a queue's, if they were looked up when it was registered.
    """

    def __init__(
        self,
        resource: Any,
        kind: Kind,
        name: str,
        *,
        on_item: Callable[[Any], object] | None = None,
        stop: Callable[[], object] | None = None,
        registered: bool = True,
        semaphores: list[str] | None = None,
    ) -> None:
        self.resource = resource
        self.kind = kind
        self.name = name
        self.on_item = on_item
        self.stop = stop
        self.registered = registered
        self.semaphores = semaphores


class Context(NamedTuple):
    """What the closers of one clean-up share.

    Attributes:
        runner: Makes calls that may block; its deadline is that of the clean-up.
        deliveries: The items on their way to the user's code.
        snapshot: The semaphores that this process made.
    """

    runner: Runner
    deliveries: Deliveries
    snapshot: Snapshot


class Closer:
    """Takes one resource through a clean-up; a kind overrides the steps that it needs.

    Args:
        entry: The resource and its options.
        report: Where the closer writes what it did.
        context: What the closers of a clean-up share.
    """

    def __init__(self, entry: Entry, report: ResourceReport, context: Context) -> None:
        self.resource = entry.resource
        self.report = report
        self.context = context
        self.on_item = entry.on_item
        self.stop = entry.stop
        self.names: list[str] = []

    def ask(self) -> None:
        """Ask what runs in it to end, together with the workers."""

    def look(self) -> list[Any]:
        """Help it on; returns a `WorkerCloser` for each worker not returned before."""
        return []

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when there is something to look after."""
        return None

    def is_busy(self) -> bool:
        """Tell whether it has to be waited for, though none of its workers lives."""
        return False

    def force(self) -> None:
        """End it by force, as the time for asking is over."""

    def finish(self) -> None:
        """Begin to end it, now that no worker uses it any more."""

    def end(self) -> None:
        """Report what became of it; nothing is waited for any more."""

    def call(self, function: Callable[[], object], what: str) -> Call:
        """Call a function that may block, in a thread; `what` says for the log what it does."""
        return self.context.runner.submit([function], f"{what} {self.report.name}")


# The resources that have been cleaned up. An id alone would not do, as ids are used again.
_cleaned: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def note_cleaned(resource: Any) -> None:
    """Keep a resource from being discovered once more by the next trigger."""
    with contextlib.suppress(TypeError):  # Classes without weak references are never discovered.
        _cleaned[id(resource)] = resource


def was_cleaned(resource: Any) -> bool:
    """Tell whether a clean-up has seen it already."""
    return _cleaned.get(id(resource)) is resource
