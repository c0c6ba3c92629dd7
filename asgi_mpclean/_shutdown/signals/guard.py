"""The guard: a signal that nobody handles cleans up what is registered before it kills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgi_mpclean._cpython.main_thread import in_main_thread
from asgi_mpclean._shutdown.state import STATE, is_waiting

from .fork import FATAL
from .watch import Watch, put_back

if TYPE_CHECKING:
    from .handler import Clean


def guard(clean: Clean) -> None:
    """Guard the signals that would kill the process without a word, unless that is done.

    Args:
        clean: Cleans up everything.
    """
    put_back()
    if STATE.guard is None and in_main_thread():
        watch = Watch(clean)
        watch.guard(FATAL)
        STATE.guard = watch if watch.active else None


def leave() -> None:
    """Take the guard away, once nothing is registered any more."""
    watch = STATE.guard
    if watch is None or is_waiting():
        put_back()
    elif in_main_thread():
        STATE.guard = None
        watch.stop()


def watches(signum: int) -> bool:
    """Tell whether a signal is guarded."""
    watch: Watch | None = STATE.guard
    return watch is not None and watch.watches(signum)
