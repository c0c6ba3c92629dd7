"""The guard: a signal that nobody handles cleans up what is registered before it kills."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import types
from typing import TYPE_CHECKING

from asgi_mpclean._cpython.main_thread import in_main_thread
from asgi_mpclean._shutdown.state import STATE, listed

from .fork import FATAL
from .handler import is_loop
from .watch import Watch, put_back

if TYPE_CHECKING:
    from .handler import Clean, _Chained


# What a server is told to stop by.
STOPS = (signal.SIGINT, signal.SIGTERM)


def guard(clean: Clean) -> None:
    """Guard the signals that would kill the process without a word, unless that is done.

    Args:
        clean: Cleans up everything.
    """
    put_back()
    if STATE.guard is None and in_main_thread():
        watch = Watch(clean)
        watch.guard(FATAL)
        watch.chain(filter(_may_be_missed, STOPS))
        STATE.guard = watch if watch.active else None
        if STATE.guard is not None and _replaces_handlers_early():
            from .unheard import listen  # noqa: PLC0415 - hardly a program needs it

            listen()


def guard_again(clean: Clean) -> None:
    """Guard also the signals that have come to be deadly since the guard was set.

    Args:
        clean: Cleans up everything.
    """
    watch: Watch | None = STATE.guard
    if watch is None:
        guard(clean)
    elif in_main_thread():
        watch.guard(FATAL)


def _may_be_missed(signum: int) -> bool:
    """Tell whether nobody may hear a signal now: a server that is still starting.

    uvloop hears nothing while it does not run. A worker by fork has the handler of its supervisor
    until it sets its own, as granian's has.
    """
    found = signal.getsignal(signum)
    is_worker = multiprocessing.parent_process() is not None
    return is_loop(getattr(found, "__self__", None)) or (
        is_worker and type(found) is types.MethodType
    )


def _replaces_handlers_early() -> bool:
    """Tell whether a server sets the handlers of a loop before that runs: granian's worker."""
    return multiprocessing.parent_process() is not None and "granian" in sys.modules


def come() -> list[_Chained]:
    """Return the handlers whose signal came early."""
    watch: Watch | None = STATE.guard
    return [] if watch is None else watch.come()


def leave() -> None:
    """Take the guard away, once nothing is registered any more."""
    watch = STATE.guard
    if watch is None or any(len(registry) for registry in listed(STATE.registries)):
        put_back()
    elif in_main_thread():
        STATE.guard = None
        watch.stop()


def watches(signum: int) -> bool:
    """Tell whether a signal is guarded."""
    watch: Watch | None = STATE.guard
    return watch is not None and watch.watches(signum)
