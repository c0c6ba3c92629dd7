"""What all kinds of resources have in common: `Kind`, `Entry` and `Closer`."""

from __future__ import annotations

import contextlib
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
    """Tell that a resource is not spent, or not held."""
    return False


def always(_entry: Entry) -> bool:
    """Tell that a resource is held."""
    return True


def nothing(_resource: Any) -> None:
    """Do nothing when a resource is registered."""


class Kind(NamedTuple):
    """A kind of resource.

    Attributes:
        name: What messages call it.
        types: Its classes, each by its full name: nothing is imported to know them. A class
            that was added by `add_kind` is given itself.
        closer: Makes what takes one through a clean-up.
        options: Which of the options `on_item` and `stop` mean something for it.
        is_spent: Tells whether one has ended, so that a registry forgets it.
        is_held: Tells whether one is kept from being garbage-collected: work may be to come.
        let_go: Called with one that is held and that the app has dropped, again and again until it
            returns how many items are lost when that is let go of; None while it has to be kept.
        note: Called when one is registered, with what may be harder to know at the end; what it
            returns takes the place of one that is garbage-collected, until that is spent.
    """

    name: str
    types: tuple[str | type, ...]
    closer: Callable[[Entry, ResourceReport, Context], Any]
    options: frozenset[str] = NO_OPTIONS
    is_spent: Callable[[Entry], bool] = never
    is_held: Callable[[Entry], bool] = never
    let_go: Callable[[Entry], int | None] | None = None
    note: Callable[[Any], object] = nothing


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

    def about(self, resource: Any) -> Entry:
        """Return the same entry of another resource."""
        return Entry(
            resource,
            self.kind,
            self.name,
            on_item=self.on_item,
            stop=self.stop,
            registered=self.registered,
            semaphores=self.semaphores,
        )

    def of_lost(self, name: str, items: int) -> Entry:
        """Return an entry that tells of items that are lost already, in a queue like this."""
        return Entry(DroppedQueue(items), DROPPED, name, registered=self.registered)


class Context(NamedTuple):
    """What the closers of one clean-up share.

    Attributes:
        runner: Makes calls that may block; its deadline is that of the clean-up.
        deliveries: The items on their way to the user's code.
        snapshot: Who made what.
        going_away: No code of the program runs afterwards.
    """

    runner: Runner
    deliveries: Deliveries
    snapshot: Snapshot
    going_away: bool = False


class Closer:
    """Takes one resource through a clean-up; a kind overrides the steps that it needs.

    Args:
        entry: The resource and its options.
        report: Where the closer writes what it did.
        context: What the closers of a clean-up share.
    """

    # Whether others need it until they have ended.
    ends_last = False

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


class DroppedQueue:
    """What is left of queues that the app has dropped with items in them.

    Args:
        items: How many.
    """

    def __init__(self, items: int) -> None:
        self.items = items


class DroppedCloser(Closer):
    """Reports the items of queues that are gone."""

    def end(self) -> None:
        """Count them."""
        self.report.dropped += self.resource.items
        self.report.outcome = "dropped by the app"


DROPPED = Kind("dropped queue", (), DroppedCloser)

# What has been cleaned up, by its id, which may be another's once it is gone.
_cleaned: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def note_cleaned(resource: Any) -> None:
    """Keep a resource from being discovered once more by the next trigger."""
    with contextlib.suppress(TypeError):  # Classes without weak references are never discovered.
        _cleaned[id(resource)] = resource


def was_cleaned(resource: Any) -> bool:
    """Tell whether a clean-up has seen it already."""
    return _cleaned.get(id(resource)) is resource
