"""Signals held back while a clean-up runs in the main thread; they follow at its end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.main_thread import in_main_thread
from asgi_mpclean._shutdown.state import STATE

from .fork import FATAL
from .handler import Handler

if TYPE_CHECKING:
    from types import FrameType


class HeldBack:
    """Keeps signals from cutting into a clean-up in the main thread; they follow at its end."""

    def __enter__(self) -> None:
        self._found: dict[int, Any] = {}
        self._came: list[int] = []
        self._here = in_main_thread()
        if not self._here:
            return
        STATE.came = self._came
        for signum in FATAL:
            previous: Any = signal.getsignal(signum)
            # A handler of ours holds back by itself.
            if not isinstance(previous, Handler) and (
                callable(previous) or previous == signal.SIG_DFL
            ):
                self._found[signum] = previous
                signal.signal(signum, self._note)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self._came.append(signum)

    def __exit__(self, *_error: object) -> None:
        if self._here:
            STATE.came = None
            _let_go(self._found, self._came)


def _let_go(found: dict[int, Any], came: list[int]) -> None:
    """Put the handlers back, then raise what came; whichever handler raises, none is left out."""
    try:
        while found:
            signum = next(iter(found))
            signal.signal(signum, found[signum])
            del found[signum]
        while came:
            signum = came[0]
            came[:] = [number for number in came if number != signum]
            signal.raise_signal(signum)
    finally:
        if found or came:
            _let_go(found, came)
