"""The items of a queue on their way to its `on_item`: in order, and each of them counted."""

from __future__ import annotations

import _thread
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.fork import GENERATION
from asgi_mpclean._cpython.queues import loads

from .calls import OverdueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asgi_mpclean._report import ResourceReport

    from .runner import Runner


class Deliveries:
    """The deliveries of a clean-up: begun at once, or held back and begun together.

    Reading a thousand queues is faster while no thread delivers at the same time.

    Args:
        runner: Makes the calls.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._held: list[Callable[[], object]] | None = None

    def add(self, deliver: Callable[[], object]) -> None:
        """Have `deliver` called."""
        if self._held is None:
            self._submit([deliver])
        else:
            self._held.append(deliver)

    def hold(self) -> None:
        """Hold back what is added from now on."""
        self._held = []

    def flush(self) -> None:
        """Begin the deliveries that were held back, as the caller has to wait for something."""
        if self._held:
            held, self._held = self._held, []
            self._submit(held)

    def release(self) -> None:
        """Begin all deliveries that were held back, and hold back no more."""
        self.flush()
        self._held = None

    def _submit(self, functions: list[Callable[[], object]]) -> None:
        self._runner.submit(functions, "on_item", deferrable=True)


class Sink:
    """The destination of the items of a queue; this one drops them."""

    def add_frames(self, frames: Sequence[bytes]) -> None:
        """Take pickled items."""

    def add_items(self, items: Sequence[Any]) -> None:
        """Take items that are not pickled."""

    def flush(self) -> None:
        """Begin the deliveries that were held back, as the caller has to wait for something."""

    def end(self) -> None:
        """Report what became of them."""


class Delivery(Sink):
    """The items of one queue on their way to its `on_item`, counted.

    Args:
        report: Where delivered, dropped and failed items are counted.
        on_item: Called with each item; without it, items are dropped and not even unpickled.
        deliveries: Those of the clean-up.
    """

    def __init__(
        self,
        report: ResourceReport,
        on_item: Callable[[Any], object] | None,
        deliveries: Deliveries,
    ) -> None:
        self._report = report
        self._on_item = on_item
        self._deliveries = deliveries
        self._pending: list[tuple[Sequence[Any], bool]] = []
        self._turn = _thread.allocate_lock()  # One thread at a time keeps the order.
        self._scheduled = False
        self._ended = False
        self._generation = GENERATION.count
        # Each is counted by one thread only, and read for the report once, at the end.
        self._added = self._received = self._failed = 0

    def add_frames(self, frames: Sequence[bytes]) -> None:
        """Deliver pickled items."""
        self._add(frames, pickled=True)

    def add_items(self, items: Sequence[Any]) -> None:
        """Deliver items that are not pickled."""
        self._add(items, pickled=False)

    def _add(self, payloads: Sequence[Any], *, pickled: bool) -> None:
        self._added += len(payloads)
        if self._on_item is None or not payloads:
            return
        self._pending.append((payloads, pickled))
        if not self._scheduled:
            self._scheduled = True
            self._deliveries.add(self._deliver)

    def deliver_here(self, items: Sequence[Any]) -> None:
        """Deliver items in the calling thread, which is one that may be left behind."""
        self._added += len(items)
        if self._on_item is not None:
            self._pending.append((items, False))
            self._deliver()

    def _deliver(self) -> None:
        self._scheduled = False  # Items that are added from now on may come too late for this call.
        while self._pending and self._turn.acquire(blocking=False):
            try:
                while self._pending:
                    payloads, pickled = self._pending.pop(0)
                    self._deliver_each(payloads, loads if pickled else _unchanged)
            finally:
                self._turn.release()

    def _deliver_each(self, payloads: Sequence[Any], load: Callable[[Any], Any]) -> None:
        on_item = self._on_item
        for payload in payloads:
            if self._ended or self._generation != GENERATION.count:
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

    def flush(self) -> None:
        """Begin the deliveries that were held back, as the caller has to wait for something."""
        self._deliveries.flush()

    def end(self) -> None:
        """Report what has been delivered by now, and the rest as dropped."""
        self._ended = True
        received = self._received
        self._report.failed = self._failed
        self._report.delivered += received
        self._report.dropped += self._added - received


def _unchanged(item: Any) -> Any:
    return item
