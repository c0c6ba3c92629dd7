"""Handlers over some signals, for as long as a lifespan or a registered resource needs them."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.main_thread import in_main_thread
from asgi_mpclean._shutdown.state import STATE

from . import fork
from .handler import Handler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Those that kill by default and come from outside; not every system has each.
FATAL = fork.FATAL
# Of these only a default that kills is guarded; a terminal's CTRL-C is for the server to handle.
GUARDED = tuple(number for number in FATAL if number not in {signal.SIGTERM, signal.SIGINT})


class Watch:
    """Handlers over some signals.

    Args:
        clean: Cleans up, given the name of the signal; called in the main thread, at any moment.
    """

    def __init__(self, clean: Callable[[str], object]) -> None:
        self.clean = clean
        self.seen = False
        self.active = False
        self.started = False  # The app has started, so that the server has to end its lifespan.
        self._handlers: list[Handler] = []
        STATE.watches.add(self)

    def chain(self, signals: Iterable[int]) -> None:
        """Watch signals, whoever handles them; ignored ones stay ignored."""
        for signum in signals:
            previous = signal.getsignal(signum) if in_main_thread() else None
            if callable(previous) or previous == signal.SIG_DFL:
                self._install(signum, previous)

    def guard(self, signals: Iterable[int]) -> None:
        """Watch those of the signals that would kill the process without a word."""
        for signum in signals:
            previous: Any = signal.getsignal(signum) if in_main_thread() else None
            guarded = isinstance(previous, Handler) and previous.kills
            if guarded or previous == signal.SIG_DFL:
                self._install(signum, previous)

    def _install(self, signum: int, previous: Any) -> None:
        handler = Handler(signum, previous, self)
        self.active = True
        with contextlib.suppress(ValueError, OSError):  # A sub-interpreter; SIGKILL and the like.
            signal.signal(signum, handler)
            self._handlers.append(handler)

    def server_is_stopping(self) -> bool:
        """Tell whether the server has said that it has been told to stop."""
        servers = [handler.server for handler in self._handlers]
        return any(getattr(server, "should_exit", False) is True for server in servers)

    def restore(self) -> None:
        """Put back what was found, unless somebody has put a handler over ours since."""
        self.active = False  # A handler that somebody keeps does nothing of its own any more.
        if not in_main_thread():
            return
        for handler in reversed(self._handlers):
            if handler.is_installed:
                signal.signal(handler.signum, handler.previous)
        self._handlers.clear()

    def restore_if_on_top(self) -> bool:
        """Restore, if everything can be put back here and now; tells whether it was."""
        if self._handlers and not in_main_thread():
            return False
        if not all(handler.is_installed for handler in self._handlers):
            return False
        self.active = False
        while self._handlers:
            handler = self._handlers.pop()
            signal.signal(handler.signum, handler.previous)
        return True

    def unguard(self) -> None:
        """In a forked child, restore SIG_DFL where our handler had replaced it."""
        for handler in self._handlers:
            if handler.is_installed and handler.kills:
                signal.signal(handler.signum, signal.SIG_DFL)

    def unchain_worker(self) -> None:
        """Let SIGTERM kill a worker by fork, as it kills one by spawn.

        The server whose handler the worker has inherited does not run in it: SIGTERM would do
        nothing, and the app or Python itself, which terminates and joins the worker, would hang.
        Only the default kills it whatever it does; a handler in Python waits for the end of what
        runs in C.
        """
        for handler in self._handlers:
            if handler.signum == signal.SIGTERM and handler.is_installed:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                if handler.has_come_here:  # Before it was known to be a worker.
                    signal.raise_signal(signal.SIGTERM)
