"""The items of a queue on their way to its `on_item`: in order, and each of them counted."""

from __future__ import annotations

import _thread
import collections
import queue
import re
import types
from typing import TYPE_CHECKING, Any

from . import _callbacks, _cpython
from ._callbacks import OverdueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._callbacks import Caller
    from ._report import ResourceReport


# Methods that only store an item: they run nobody's code and never block, so that there is no need
# for a thread that could be left behind. To start one takes half of the clean-up of one queue.
STORES = {(list, "append"), (collections.deque, "append"), (queue.SimpleQueue, "put")}
# Since protocol 4 a pickle names a class by STACK_GLOBAL or EXT. A byte of a number or of a string
# may look the same: then there is a thread for nothing.
PROTOCOLS = {b"\x80\x04", b"\x80\x05"}
NAMES_A_CLASS = re.compile(rb"[\x82-\x84\x93]")


class Sink:
    """Where the items of a queue go; here, nowhere."""

    def add_frames(self, frames: Sequence[bytes]) -> None:
        """Take pickled items."""

    def add_items(self, items: Sequence[Any]) -> None:
        """Take items that never were pickled."""

    def begin(self) -> None:
        """Begin with what was held back, as there is time now."""

    def end(self) -> None:
        """Say what became of them."""


class Delivery(Sink):
    """The items of one queue on their way to its `on_item`, counted.

    Args:
        report: Where delivered, dropped and failed items are counted.
        on_item: What receives them; without it they are dropped, and not even unpickled.
        caller: Makes the calls.
    """

    def __init__(
        self, report: ResourceReport, on_item: Callable[[Any], object] | None, caller: Caller
    ) -> None:
        self._report = report
        self._on_item = on_item
        self._caller = caller
        self._pending: list[tuple[Sequence[Any], bool]] = []
        self._turn = _thread.allocate_lock()  # One thread at a time keeps the order.
        self._scheduled = False
        self._ended = False
        self._in_thread = False  # Some are on their way to a thread, not to be overtaken.
        self._forks = _callbacks.forks
        # Each is counted by one thread only, and read for the report once, at the end.
        self._added = self._received = self._failed = 0

    def add_frames(self, frames: Sequence[bytes]) -> None:
        """Deliver pickled items."""
        self._add(frames, pickled=True)

    def add_items(self, items: Sequence[Any]) -> None:
        """Deliver items that never were pickled."""
        self._add(items, pickled=False)

    def _add(self, payloads: Sequence[Any], *, pickled: bool) -> None:
        self._added += len(payloads)
        if self._on_item is None or not payloads:
            return
        if not self._in_thread and self._caller.is_few(0) and _only_stores(self._on_item):
            payloads = self._store(payloads, pickled=pickled)
            if not payloads:
                return
        self._in_thread = True
        self._pending.append((payloads, pickled))
        if not self._scheduled:
            self._scheduled = True
            self._caller.deliver(self._deliver)

    def _store(self, payloads: Sequence[Any], *, pickled: bool) -> Sequence[Any]:
        """Deliver a few items here and now, if none can run code; returns those left over."""
        caller, size = self._caller, sum(map(len, payloads)) if pickled else len(payloads)
        if not caller.is_few(size) or not caller.remaining():
            return payloads
        if pickled and not _are_plain(payloads):
            return payloads
        on_item: Any = self._on_item
        for number, payload in enumerate(payloads):
            try:
                on_item(_cpython.loads(payload) if pickled else payload)
            except Exception:  # noqa: BLE001 - it is looked at again where it may take its time
                return payloads[number:]
            self._received += 1
        return ()

    def deliver_here(self, items: Sequence[Any]) -> None:
        """Deliver items in the calling thread, which is one that may be left behind."""
        self._added += len(items)
        if self._on_item is not None:
            self._pending.append((items, False))
            self._deliver()

    def _deliver(self) -> None:
        self._scheduled = False  # What is added from now on may come too late for this turn.
        while self._pending and self._turn.acquire(blocking=False):
            try:
                while self._pending:
                    payloads, pickled = self._pending.pop(0)
                    self._deliver_each(payloads, _cpython.loads if pickled else _unchanged)
            finally:
                self._turn.release()

    def _deliver_each(self, payloads: Sequence[Any], load: Callable[[Any], Any]) -> None:
        on_item = self._on_item
        for payload in payloads:
            if self._ended or self._forks != _callbacks.forks:
                return
            try:
                item = load(payload)
            except OverdueError:
                raise
            except BaseException as error:  # noqa: BLE001 - it is code of the user
                self._note(error)
                continue
            try:
                on_item(item)  # type: ignore[misc]  # _add lets nothing in without one
            except OverdueError:
                raise
            except BaseException as error:  # noqa: BLE001 - SystemExit must not end the delivery
                self._failed += 1
                self._note(error)
            self._received += 1

    def _note(self, error: BaseException) -> None:
        if self._report.error is None:
            self._report.error = repr(error)

    def begin(self) -> None:
        """Let the delivery begin, if it is one of a batch, as there is time now."""
        self._caller.begin_batch()

    def end(self) -> None:
        """Report what has been delivered by now, and the rest as dropped."""
        self._ended = True
        received = self._received
        self._report.failed = self._failed
        self._report.delivered += received
        self._report.dropped += self._added - received


def _unchanged(item: Any) -> Any:
    return item


def _only_stores(on_item: object) -> bool:
    if type(on_item) is not types.BuiltinMethodType:
        return False
    store = on_item.__self__
    # A deque that is full drops an item, and who knows what that does.
    return (type(store), on_item.__name__) in STORES and getattr(store, "maxlen", None) is None


def _are_plain(pickles: Sequence[bytes]) -> bool:
    """Whether they are made of numbers, strings and containers only, so that no code is run."""
    known = all([pickled[:2] in PROTOCOLS for pickled in pickles])  # noqa: C419 - quicker
    return known and NAMES_A_CLASS.search(b"".join(pickles)) is None
