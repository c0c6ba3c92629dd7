"""Signals held back while a clean-up runs in the main thread; they follow at its end."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.fork import PerProcess
from asgi_mpclean._cpython.main_thread import in_main_thread
from asgi_mpclean._shutdown.state import STATE

from .fork import FATAL
from .handler import chained, is_default

if TYPE_CHECKING:
    from types import FrameType


class _Held(PerProcess):
    """The handlers that have been replaced for as long as signals are held back."""

    found: dict[int, Any]

    def reset(self, *, forked: bool) -> None:
        # A child has no part in the clean-up in whose midst it was forked: nothing is held back.
        if forked:
            _put_back(self.found)
        self.found = {}


def _put_back(found: dict[int, Any]) -> None:
    # A signal may come at any step, whose handler puts all of them back itself.
    for signum, handler in list(found.items()):
        if signum in found:
            signal.signal(signum, handler)
            found.pop(signum, None)


_held = _Held()


class HeldBack:
    """Keeps signals from cutting into a clean-up in the main thread; they follow at its end."""

    def __enter__(self) -> None:
        self._found = _held.found
        self._came: list[int] = []
        # Within another clean-up, as a destructor of the app may begin one, that one holds back.
        self._here = in_main_thread() and STATE.came is None
        if not self._here:
            return
        STATE.came = self._came
        for signum in FATAL:
            previous: Any = signal.getsignal(signum)
            # A handler of ours holds back by itself.
            if chained(previous) is None and (callable(previous) or is_default(previous)):
                self._found.setdefault(signum, previous)
                signal.signal(signum, self._note)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self._came.append(signum)

    def __exit__(self, *_error: object) -> None:
        if self._here:
            STATE.came = None
            _let_go(self._found, self._came)


def _let_go(found: dict[int, Any], came: list[int]) -> None:
    """Put the handlers back, then give them what came; if one raises, none is left out."""
    try:
        _put_back(found)
        while came:
            signum = came[0]
            came[:] = [number for number in came if number != signum]
            _give_again(signum)
    finally:
        if found or came:
            _let_go(found, came)


def _give_again(signum: int) -> None:
    """Do what the signal would have done, had it not been held back.

    It is not raised again: an event loop has been told of it by its wake-up descriptor, and would
    handle it twice.
    """
    handler = signal.getsignal(signum)
    if callable(handler):
        handler(signum, sys._getframe())  # noqa: SLF001 - what Python gives to a handler
    else:
        signal.raise_signal(signum)
