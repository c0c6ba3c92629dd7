"""What the shutdown plan asks of everything that is neither a queue, a worker nor a lock.

One small closer for each kind, in `_pools`, `_memory` and `_channels`, or made of the one function
that somebody gave to `add_kind`.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from ._delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from . import _cpython
    from ._callbacks import Call, Caller
    from ._kinds import Entry
    from ._report import ResourceReport
    from ._workers import WorkerCloser


# What has been cleaned up, by its id, which may be another's once it is gone.
_cleaned: dict[int, weakref.ref[Any]] = {}
# With so many in it, it is rid of those that are gone.
_tidied_at = 1000


def note_cleaned(resource: Any) -> None:
    """Keep a resource from being discovered once more by the next trigger."""
    global _tidied_at  # noqa: PLW0603 - one dictionary
    _cleaned[id(resource)] = weakref.ref(resource)
    if len(_cleaned) >= _tidied_at:
        for key in [key for key, reference in _cleaned.items() if reference() is None]:
            del _cleaned[key]
        _tidied_at = max(1000, 2 * len(_cleaned))


def was_cleaned(resource: Any) -> bool:
    """Tell whether a clean-up has seen it already."""
    reference = _cleaned.get(id(resource))
    return reference is not None and reference() is resource


class Closer:
    """Takes one resource through a clean-up; each step is nothing unless its kind needs it.

    Args:
        entry: The resource and its options.
        report: What is written into.
        caller: Makes calls that may block; its deadline is that of the clean-up.
        snapshot: Who made what.
    """

    def __init__(
        self, entry: Entry, report: ResourceReport, caller: Caller, snapshot: _cpython.Snapshot
    ) -> None:
        self.resource = entry.resource
        self.report = report
        self.caller = caller
        self.snapshot = snapshot
        self.on_item = entry.on_item
        self.stop = entry.stop
        self.names: list[str] = []

    def ask(self) -> None:
        """Ask what runs in it to end, together with the workers."""

    def look(self) -> list[WorkerCloser]:
        """Help it on; returns its worker processes that have not been returned before."""
        return []

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when there is something to look after."""
        return None

    @property
    def is_busy(self) -> bool:
        """Whether it has to be waited for, though none of its workers lives."""
        return False

    def force(self) -> None:
        """End it the hard way, as the time for asking is over."""

    def finish(self) -> None:
        """Begin to end it, now that no worker uses it any more."""

    def end(self) -> None:
        """Say what became of it; nothing is waited for any more."""

    def call(self, function: Callable[[], object], what: str) -> Call:
        """Have something called that may block; `what` is what it does to the resource."""
        return self.caller.call(function, f"{what} {self.report.name}")


class CustomCloser(Closer):
    """Closes a resource of a kind that was added by `add_kind`.

    Args:
        args: As `Closer` takes them.
        close: Closes the resource within the given seconds; returns the items left in it.
        has_workers: Begin when the workers are asked to stop, not when they have ended.
    """

    def __init__(
        self, *args: Any, close: Callable[[Any, float], Iterable[Any] | None], has_workers: bool
    ) -> None:
        super().__init__(*args)
        self._close = close
        self._has_workers = has_workers
        self._delivery = Delivery(self.report, self.on_item, self.caller)
        self._outcome = "still running"

    def ask(self) -> None:
        """Begin, if it has workers of its own."""
        if self._has_workers:
            self.call(self._run, "closing")

    def finish(self) -> None:
        """Begin, if the workers may have used it until now."""
        if not self._has_workers:
            self.call(self._run, "closing")

    def _run(self) -> None:
        try:
            items = list(self._close(self.resource, self.caller.remaining()) or ())
        except BaseException as error:
            self._outcome, self.report.error = "failed", repr(error)
            raise
        self._outcome = "closed"
        self._delivery.deliver_here(items)

    def end(self) -> None:
        """Count the items that were delivered."""
        self._delivery.end()
        self.report.outcome = self._outcome
