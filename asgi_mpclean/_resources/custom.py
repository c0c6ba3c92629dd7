"""Kinds that were added by `add_kind`: each is closed by the one function given there."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._items.delivery import Delivery

from .base import ITEMS, Closer, Kind, always

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .base import Entry

    Close = Callable[[Any, float], Iterable[Any] | None]


class CustomCloser(Closer):
    """Closes a resource of a kind that was added by `add_kind`.

    Args:
        args: As `Closer` takes them.
        close: Closes the resource within the given seconds; returns the items left in it.
    """

    def __init__(self, *args: Any, close: Close) -> None:
        super().__init__(*args)
        self._close = close
        self._delivery = Delivery(self.report, self.on_item, self.context.deliveries)
        self._outcome = "still running"

    def finish(self) -> None:
        """Begin to close it: the workers, which may have used it, have ended."""
        self.call(self._run, "closing")

    def _run(self) -> None:
        left = max(self.context.runner.deadline - time.monotonic(), 0.0)
        try:
            items = list(self._close(self.resource, left) or ())
        except BaseException as error:
            self._outcome, self.report.error = "failed", repr(error)
            raise
        self._outcome = "closed"
        self._delivery.deliver_here(items)

    def end(self) -> None:
        """Count the items that were delivered."""
        self._delivery.end()
        self.report.outcome = self._outcome


def _is_closed(entry: Entry) -> bool:
    """Tell whether it says that it is closed, as files, sockets and most other classes do."""
    return getattr(entry.resource, "closed", False) is True


def custom_kind(cls: type, close: Close) -> Kind:
    """Return the kind of what is closed by `close`; it is held, as nobody else would close it."""
    closer = functools.partial(CustomCloser, close=close)
    return Kind(cls.__name__, (cls,), closer, options=ITEMS, is_spent=_is_closed, is_held=always)
