"""Signals and forks: a child loses no signal that kills, and no handler of ours keeps it alive."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Protocol

from asgi_mpclean._cpython.children import when_worker_forked
from asgi_mpclean._cpython.main_thread import send_after_fork
from asgi_mpclean._shutdown.state import STATE, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Those that kill by default and come from outside; not every system has each.
FATAL = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGBREAK")
    if hasattr(signal, name)
)


# The time (seconds) after which a signal that came in the middle of a fork is given to the child.
AFTER_FORK_SECONDS = 0.001


@contextlib.contextmanager
def blocked(signum: int) -> Iterator[None]:
    """Keep a signal waiting meanwhile, where that can be done."""
    if sys.platform == "win32":
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signum})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Inherited(Protocol):
    """A watch, as a child sees it."""

    active: bool

    def unguard(self) -> None:
        """Restore SIG_DFL where our handler had replaced it."""

    def unchain_worker(self) -> None:
        """Let SIGTERM kill."""


class _Fork:
    """Keeps a fatal signal from being lost in a fork.

    Python drops a signal that reaches a child before that has set itself up after the fork. And a
    child that SIG_DFL would have killed must not live on because of a handler of ours.
    """

    def __init__(self) -> None:
        self._masks: dict[int, set[int]] = {}  # by the thread that forks

    def before(self) -> None:
        """Block the signals, if any of them is guarded."""
        if sys.platform != "win32" and any(watch.active for watch in _watches()):
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, FATAL)
            self._masks[threading.get_ident()] = set(mask)

    def in_parent(self) -> None:
        """Unblock the signals."""
        mask = self._masks.pop(threading.get_ident(), None)
        if mask is not None and sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def in_child(self) -> None:
        """Restore SIG_DFL, then unblock the signals."""
        for watch in _watches():
            watch.unguard()
        mask = self._masks.get(threading.get_ident())
        if mask is not None and sys.platform != "win32":
            for signum in signal.sigpending() & (set(FATAL) - mask):
                # What a handler raises here would only be printed, and lost.
                if callable(signal.getsignal(signum)):
                    signal.sigwait({signum})
                    if not send_after_fork(signum, AFTER_FORK_SECONDS):
                        signal.raise_signal(signum)
        self.in_parent()

    def in_worker(self) -> None:
        """Let SIGTERM kill a worker of multiprocessing; other forks keep the handler."""
        for watch in _watches():
            watch.unchain_worker()


def _watches() -> Iterable[Inherited]:
    return listed(STATE.watches)


if hasattr(os, "register_at_fork") and hasattr(signal, "pthread_sigmask"):
    _fork = _Fork()
    os.register_at_fork(
        before=_fork.before, after_in_parent=_fork.in_parent, after_in_child=_fork.in_child
    )
    when_worker_forked(_fork, _Fork.in_worker)
