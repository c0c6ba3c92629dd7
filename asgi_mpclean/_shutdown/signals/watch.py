"""Watching some signals, for as long as a lifespan or a registered resource needs it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.dispositions import found_handler
from asgi_mpclean._cpython.main_thread import in_main_thread
from asgi_mpclean._shutdown.state import STATE

from .fork import FATAL, blocked
from .handler import Hearing, chain_over, chained, is_default, is_loop

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from .handler import Clean, _Chained

# The signals that are guarded only where they would kill: the server handles CTRL-C and SIGTERM.
GUARDED = tuple(number for number in FATAL if number not in {signal.SIGTERM, signal.SIGINT})


class Watch:
    """Watches some signals.

    There is one handler over each handler that was found, however many watches need it.

    Args:
        clean: Cleans up; called in the main thread, at any moment.
    """

    def __init__(self, clean: Clean) -> None:
        self.clean = clean
        self.came: set[int] = set()
        self.started = False  # The app has started, so that the server has to end its lifespan.
        self._handlers: list[_Chained] = []
        STATE.watches.add(self)

    @property
    def active(self) -> bool:
        """Whether it watches anything."""
        return bool(self._handlers)

    def watches(self, signum: int) -> bool:
        """Tell whether it watches a signal."""
        return any(handler.signum == signum for handler in self._handlers)

    @property
    def seen(self) -> bool:
        """Whether a signal has come."""
        return bool(self.came)

    def note(self, signum: int) -> None:
        """Note that a signal has come."""
        self.came.add(signum)

    def chain(self, signals: Iterable[int]) -> None:
        """Watch signals, whoever handles them; ignored ones stay ignored."""
        for signum in signals if in_main_thread() else ():
            found = found_handler(signum)
            if callable(found) or is_default(found):
                self._join(signum, found)

    def guard(self, signals: Iterable[int]) -> None:
        """Watch those of the signals that would kill the process without any clean-up."""
        for signum in signals if in_main_thread() else ():
            found = found_handler(signum)
            known = chained(found)
            if known.kills if known is not None else is_default(found):
                self._join(signum, found)

    def _join(self, signum: int, found: Any) -> None:
        known = chained(found) or chain_over(signum, found)
        if self in known.watches:
            return
        # Noted before it is installed: a destructor or a signal may come at any step, and takes off
        # each handler that nobody needs.
        known.watches.append(self)
        try:
            known.install()
        except (ValueError, OSError):  # A sub-interpreter; SIGKILL and the like.
            known.watches.remove(self)
            return
        STATE.handled.add(signum)
        self._handlers.append(known)

    def come(self) -> list[_Chained]:
        """Return the handlers whose signal has come."""
        nothing = Hearing.NOTHING_CAME
        return [handler for handler in self._handlers if handler.hearing is not nothing]

    def take_over(self, loop: Any) -> None:
        """From now on, take the signals that an event loop handles, which is not told of them.

        Args:
            loop: The event loop, in the thread of which this is called.
        """
        for handler in self._handlers if in_main_thread() else ():
            if handler.is_installed and loop.remove_signal_handler(handler.signum):
                handler.replace_below(_do_nothing)

    def may_miss(self) -> bool:
        """Tell whether a handler below is that of an event loop, which must run to hear."""
        return any(is_loop(handler.server) for handler in self._handlers)

    def server_is_stopping(self) -> bool:
        """Tell whether the server has been told to stop, by whatever, or stops by itself."""
        servers = [handler.server for handler in self._handlers]
        return any(
            getattr(server, "should_exit", False) is True or _has_served_enough(server)
            for server in servers
        )

    def server_raises_again(self) -> bool:
        """Tell whether the server raises a signal again at its end, as uvicorn does."""
        return any(hasattr(handler.server, "capture_signals") for handler in self._handlers)

    def stop(self) -> None:
        """Watch no more, and put back what was found where nobody else needs our handler."""
        for handler in self._handlers:
            if self in handler.watches:
                handler.watches.remove(self)
        self._handlers.clear()
        put_back()

    def unguard(self) -> None:
        """In a forked child, restore SIG_DFL where our handler had replaced it."""
        for handler in self._handlers:
            if handler.is_installed and handler.kills:
                signal.signal(handler.signum, signal.SIG_DFL)

    def unchain_worker(self) -> None:
        """Let SIGTERM kill a worker by fork, as it kills one by spawn.

        The server whose handler the worker has inherited does not run in it: SIGTERM would do
        nothing, and the app or Python itself, which terminates and joins the worker, would hang.
        Only SIG_DFL kills it at once; a handler in Python would wait until code in C has returned.
        """
        for handler in self._handlers:
            if handler.signum == signal.SIGTERM and handler.is_installed:
                # PyPy forgets a signal that comes just before the default takes the place of its
                # handler. One that is blocked is not forgotten.
                with blocked(signal.SIGTERM):
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                if handler.has_come_here:  # Before it was known to be a worker.
                    signal.raise_signal(signal.SIGTERM)


def _has_served_enough(server: Any) -> bool:
    """Tell whether a server, as uvicorn, stops at a limit of requests, of which it says nothing."""
    limit = getattr(getattr(server, "config", None), "limit_max_requests", None)
    served = getattr(getattr(server, "server_state", None), "total_requests", None)
    return isinstance(limit, int) and isinstance(served, int) and served >= limit


def _do_nothing(_signum: int, _frame: FrameType | None) -> None:
    """Be a handler."""


def put_back() -> None:
    """Take each handler of ours off that nobody needs and nothing stands on.

    Only the main thread can; in another one this waits for the next time.
    """
    if not in_main_thread():
        return
    for signum in tuple(STATE.handled):
        known = chained(signal.getsignal(signum))
        if known is not None:
            known.take_off()
