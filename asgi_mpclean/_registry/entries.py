"""What a registry keeps of each thing, and for how long: a program may register for ever.

A thing that only its user can end, such as a lock, is kept by a weak reference, and its entry goes
with it. What may have work to come, such as a queue with items in it, is held; its kind tells when
it is spent, so that it can be let go of. Each is looked at 1, 2, 4 ... 64 registrations after its
own, which lets go soon of what ends soon, and then in turn, a few at each registration.

Any number of threads may use it, and signal handlers and destructors. Nothing here waits for a
lock: what is done to a dictionary or a deque is one step each, with a GIL or without (see `gil`),
and whoever finds another at the tidying goes on without.
"""

from __future__ import annotations

import _thread
import collections
import contextlib
import itertools
import sys
import time
import weakref

from asgi_mpclean._cpython import gil

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from asgi_mpclean._resources.base import Entry

# So many registrations after its own an entry is looked at.
AGES = (1, 2, 4, 8, 16, 32, 64)
# So many others, in turn, are looked at with each registration.
IN_TURN = 4
# The lost items of so many queues are told by the names of these, those of others together.
NAMES_OF_LOST = 64
OTHER_QUEUES = "other queues"
# The number of references to anything where nothing counts them, as in PyPy: there a queue that the
# app has dropped is held until it is closed.
UNCOUNTED = sys.maxsize


class _Reference(weakref.ref):  # type: ignore[type-arg]
    """A weak reference that knows whose entry it belongs to."""

    __slots__ = ("serial",)
    serial: int


class Record:
    """One registered thing.

    Attributes:
        serial: Its number, as its `id` may be another's once it is gone.
        key: Its `id`.
        entry: Its options.
        held: The thing, if it is held.
        note: What stands for it when it has gone, such as the name of a block of shared memory.
        hidden: The app cannot get at it any more, and must not by us.
    """

    __slots__ = ("entry", "held", "hidden", "key", "note", "reference", "serial")

    def __init__(self, serial: int, entry: Entry, note: object) -> None:
        resource = entry.resource
        self.serial = serial
        self.key = id(resource)
        self.entry = entry.about(None)
        self.held: Any = resource
        self.note = note
        self.hidden = False
        self.reference: _Reference | None = None

    def watch(self, gone: Callable[[_Reference], object]) -> None:
        """Hold the thing no more, and have `gone` called when it has gone."""
        try:
            self.reference = reference = _Reference(self.held, gone)
        except TypeError:  # A class without `__weakref__`.
            return
        reference.serial = self.serial
        self.held = None

    def resource(self) -> Any:
        """Return the thing, None if it has gone."""
        held = self.held
        return self.reference() if held is None and self.reference is not None else held

    def shown(self) -> Any:
        """Return the thing, None if it has gone or the app has let go of it."""
        resource = self.resource()
        return None if self.hidden else resource  # Asked last: see `is_dropped`.

    def references(self) -> int:
        """Return how many references there are to what is held; as if many, where none count."""
        return sys.getrefcount(self.held) if hasattr(sys, "getrefcount") else UNCOUNTED

    def is_dropped(self) -> bool:
        """Tell whether nobody but this record refers to what it holds; if so, it hides that."""
        if self.references() > UNSHARED:
            return False
        self.hidden = True
        if not gil.is_enabled():
            time.sleep(0)  # A processor shows the others late what it has counted, but not so late.
        # Who is just iterating has either got it before, which is counted, or does not any more.
        if self.references() > UNSHARED:
            self.hidden = False
        return self.hidden


class Entries:
    """The entries of a registry, by their serial numbers."""

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}
        self._serials: dict[int, int] = {}  # by the `id` of the thing
        self._numbers = itertools.count()
        self._gone: collections.deque[_Reference] = collections.deque()
        self._added: collections.deque[int] = collections.deque()  # and not looked at since
        self._tidying = _thread.allocate_lock()
        self._turns: collections.deque[int] = collections.deque()
        self._lost: dict[str, Entry] = {}

    def __len__(self) -> int:
        return sum(record.resource() is not None for record in list(self._records.values()))

    def shown(self) -> list[Any]:
        """Return what is registered, in the order of registration."""
        records = self._records.copy()
        shown = [records[serial].shown() for serial in sorted(records)]
        return [resource for resource in shown if resource is not None]

    def find(self, resource: object) -> Record | None:
        """Return what is known of a thing; its `id` alone may be that of another that has gone."""
        record = self._records.get(self._serials.get(id(resource), -1))
        return record if record is not None and record.resource() is resource else None

    def add(self, entry: Entry, note: object, known: Record | None) -> Record:
        """Add an entry, or put a changed one in the place of one that is known."""
        serial = next(self._numbers) if known is None else known.serial
        record = Record(serial, entry, note)
        if not entry.kind.is_held(entry):
            record.watch(self._gone.append)
        self._records[serial] = record
        self._serials[record.key] = serial
        return record

    def take(self, record: Record) -> bool:
        """Take a record out; tells whether nobody else has."""
        found = self._records.pop(record.serial, None)
        self._forget(record)
        return found is not None

    def _forget(self, record: Record) -> None:
        key, serial = record.key, record.serial
        # Another may have come there in between: then its number is put back.
        if self._serials.get(key) == serial and (now := self._serials.pop(key, serial)) != serial:
            self._serials.setdefault(key, now)

    def take_all(self) -> list[Entry]:
        """Hand over everything, in the order of registration, and what was lost before."""
        records: list[Record] = []
        with contextlib.suppress(KeyError):  # It is empty.
            while True:
                records.append(self._records.popitem()[1])
        for record in records:
            self._forget(record)
        lost, self._lost = self._lost, {}
        records.sort(key=lambda record: record.serial)
        found = [_entry_of(record) for record in records]
        return [*(entry for entry in found if entry is not None), *lost.values()]

    def take_kind(self, name: str) -> list[Entry]:
        """Hand over the entries of one kind."""
        taken = [record for record in self._of_kind(name) if self.take(record)]
        return [entry for record in taken if (entry := _entry_of(record)) is not None]

    def look_at(self, name: str) -> list[Entry]:
        """Return the entries of one kind, which stay here."""
        found = [_entry_of(record) for record in self._of_kind(name)]
        return [entry for entry in found if entry is not None]

    def _of_kind(self, name: str) -> list[Record]:
        return [record for record in list(self._records.values()) if record.entry.kind.name == name]

    # Letting go ---------------------------------------------------------------------------------

    def tidy(self, serial: int) -> None:
        """Let go of what has ended, now that the entry with this number has been added."""
        self._added.append(serial)  # For whoever is at it.
        if not self._tidying.acquire(blocking=False):
            return
        try:
            while self._gone:
                self._look_again(self._gone.popleft().serial)
            while self._added:
                number = self._added.popleft()
                for age in AGES:
                    self._look_again(number - age)
                self._look_in_turn()
                self._turns.append(number)
        finally:
            self._tidying.release()

    def _look_in_turn(self) -> None:
        for _ in range(min(IN_TURN, len(self._turns))):
            number = self._turns.popleft()
            self._look_again(number)
            if number in self._records:
                self._turns.append(number)

    def _look_again(self, serial: int) -> None:
        record = self._records.get(serial)
        if record is None:
            return
        try:
            if (resource := record.resource()) is None:
                self._bury(record)
            elif record.entry.kind.is_spent(record.entry.about(resource)):
                self.take(record)
            else:
                del resource  # It would count.
                self._let_go(record)
        except Exception:  # noqa: BLE001 - a class of somebody else's: it is kept
            return

    def _bury(self, record: Record) -> None:
        """Keep what a thing that has gone left behind, or nothing."""
        left = _entry_of(record)
        if left is None:
            self.take(record)
        else:
            record.hidden = True
            record.held = left.resource

    def _let_go(self, record: Record) -> None:
        """Let go of what is held if the app has dropped it, and nothing is to come any more."""
        let_go = record.entry.kind.let_go
        if let_go is None or record.held is None or not record.is_dropped():
            return
        lost = let_go(record.entry.about(record.held))
        if lost is not None and self.take(record) and lost:
            self._note_lost(record.entry, lost)

    def _note_lost(self, entry: Entry, items: int) -> None:
        name = entry.name
        if name not in self._lost and len(self._lost) >= NAMES_OF_LOST:
            name = OTHER_QUEUES
        known = self._lost.get(name)
        before = 0 if known is None else known.resource.items
        self._lost[name] = entry.of_lost(name, before + items)


def _entry_of(record: Record) -> Entry | None:
    """Return what a clean-up needs to know, None for what has gone and left nothing behind."""
    resource = record.resource()
    if resource is not None:
        return record.entry.about(resource)
    if record.note is None:
        return None
    left = record.entry.about(record.note)
    return None if left.kind.is_spent(left) else left


class _Nothing:
    """What has no options, to count the references to something that nobody else refers to."""

    resource: Any

    def __init__(self) -> None:
        self.resource = object()

    def about(self, _resource: object) -> Any:
        """Be the options of a record."""
        return None


# Counted rather than known, as versions of Python count differently.
UNSHARED = (
    Record(0, _Nothing(), None).references()  # type: ignore[arg-type]
    if hasattr(sys, "getrefcount")
    else 0
)
