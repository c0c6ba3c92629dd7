"""The items of a queue on their way to its `on_item`: in order, and each of them counted."""

from __future__ import annotations

import _thread
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.fork import GENERATION
from asgi_mpclean._cpython.queues import loads

from .calls import Call, OverdueError, run_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asgi_mpclean._report import ResourceReport

    from .runner import Runner

    # Items, what makes them what the app had put, and their size.
    Batch = tuple[Iterator[Any], Callable[[Any], Any], int]

# What a pickled item takes in memory beside its own bytes.
OVERHEAD_BYTES = 64
# Where there are no threads, items are delivered for so long (seconds) between two looks at the
# workers, and then the next look is due.
TURN_SECONDS = 0.05


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

    def run_here(self, deliver: Callable[[], object]) -> Call | None:
        """Call `deliver` at once where no thread does it; an `on_item` that hangs is interrupted.

        Returns:
            The call; none where there are threads.
        """
        if self._runner.has_threads:
            return None
        call, now = Call([deliver], "on_item", deferrable=False), time.monotonic()
        run_here(call, now + (self._runner.deadline - now) / 2)
        return call

    def _submit(self, functions: list[Callable[[], object]]) -> None:
        self._runner.submit(functions, "on_item", deferrable=True)


class Sink:
    """Where the items of a queue go; here, nowhere.

    Attributes:
        discards: Items are only counted.
    """

    discards = False

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of items that were read have been added and not been taken yet."""
        return 0

    def add_frames(self, frames: Sequence[bytes], size: int = 0) -> None:
        """Take pickled items; `size` is what they take in memory, in bytes."""

    def add_items(self, items: Sequence[Any]) -> None:
        """Take items that were in the memory of this process before."""

    def add_read_items(self, items: Sequence[Any], _size: int) -> None:
        """Take items that were read and unpickled by somebody else."""
        self.add_items(items)

    def flush(self) -> None:
        """Begin the deliveries that were held back, as the caller has to wait for something."""

    def make_room(self) -> None:
        """See to it that what was added is taken: there is no room for more."""

    def end(self) -> None:
        """Report what became of them."""


class Delivery(Sink):
    """The items of one queue on their way to its `on_item`, counted.

    Args:
        report: Where delivered, dropped and failed items are counted.
        on_item: Called with each item; without it, items are dropped and not even unpickled.
        deliveries: Those of the clean-up.
        unpickle: Makes an item of a pickle.
    """

    def __init__(
        self,
        report: ResourceReport,
        on_item: Callable[[Any], object] | None,
        deliveries: Deliveries,
        unpickle: Callable[[Any], Any] = loads,
    ) -> None:
        self.discards = on_item is None
        self._report = report
        self._on_item = on_item
        self._deliveries = deliveries
        self._unpickle = unpickle
        self._pending: list[Batch] = []
        self._turn = _thread.allocate_lock()  # One thread at a time keeps the order.
        self._scheduled = False
        self._ended = False
        self._call_here: Call | None = None
        self._hangs = False
        self._generation = GENERATION.count
        # Each is counted by one thread only, and read for the report once, at the end.
        self._added = self._received = self._failed = 0
        self._bytes_in = self._bytes_out = 0

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of items that were read have been added and not been taken yet."""
        return self._bytes_in - self._bytes_out

    def add_frames(self, frames: Sequence[bytes], size: int = 0) -> None:
        """Deliver pickled items; `size` is what they take in memory, in bytes."""
        self._add(frames, self._unpickle, size)

    def add_items(self, items: Sequence[Any]) -> None:
        """Deliver items that were in the memory of this process before."""
        self._add(items, _unchanged, 0)

    def add_read_items(self, items: Sequence[Any], size: int) -> None:
        """Deliver items that were read and unpickled by somebody else."""
        self._add(items, _unchanged, size)

    def _add(self, payloads: Sequence[Any], load: Callable[[Any], Any], size: int) -> None:
        self._added += len(payloads)
        if self._on_item is None or not payloads:
            return
        self._bytes_in += size
        self._pending.append((iter(payloads), load, size))
        if not self._scheduled:
            self._scheduled = True
            self._deliveries.add(self._deliver)

    def deliver_here(self, items: Sequence[Any]) -> None:
        """Deliver items in the calling thread, which is one that may be left behind."""
        self._added += len(items)
        if self._on_item is not None:
            self._pending.append((iter(items), _unchanged, 0))
            self._deliver()

    def _deliver(self, until: float = 0.0) -> None:
        self._scheduled = False  # What is added from now on may come too late for this turn.
        while self._pending and self._turn.acquire(blocking=False):
            try:
                while self._pending:
                    payloads, load, size = self._pending[0]
                    if not self._deliver_each(payloads, load, until):
                        return
                    self._pending.pop(0)
                    self._bytes_out += size
            finally:
                self._turn.release()

    def _deliver_each(
        self, payloads: Iterator[Any], load: Callable[[Any], Any], until: float
    ) -> bool:
        """Deliver items until `until`, if that is not 0; tells whether that was all of them."""
        on_item = self._on_item
        for payload in payloads:
            if self._ended or self._generation != GENERATION.count:
                return False
            try:
                item = load(payload)
            except OverdueError:
                raise
            except BaseException as error:  # noqa: BLE001 - it is code of the user
                if self._report.error is None:
                    self._report.error = repr(error)
                continue
            try:
                on_item(item)  # type: ignore[misc]  # _add lets nothing in without one
            except OverdueError:
                raise
            except BaseException as error:  # noqa: BLE001 - SystemExit must not end the delivery
                if not self._failed:  # It tells more than an item that could not be unpickled.
                    self._report.error = repr(error)
                self._failed += 1
            self._received += 1
            if until and time.monotonic() >= until:
                return False
        return True

    def flush(self) -> None:
        """Begin the deliveries that were held back, as the caller has to wait for something."""
        self._deliveries.flush()

    def make_room(self) -> None:
        """See to it that what was added is taken: there is no room for more."""
        self.flush()
        if not self._hangs and (self._call_here is None or self._call_here.wait(0)):
            self._call_here = self._deliveries.run_here(self._deliver_for_a_moment)

    def _deliver_for_a_moment(self) -> None:
        scheduled = self._scheduled
        try:
            self._deliver(time.monotonic() + TURN_SECONDS)
        except OverdueError:
            self._hangs = True
            raise
        finally:
            self._scheduled = scheduled  # By who has promised to come for all the rest.

    def end(self) -> None:
        """Report what has been delivered by now, and the rest as dropped."""
        self._ended = True
        received = self._received
        self._report.failed = self._failed
        self._report.delivered += received
        self._report.dropped += self._added - received


def _unchanged(item: Any) -> Any:
    return item
