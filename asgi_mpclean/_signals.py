"""Signals: chained, counted, restored; never taken away from whoever had them.

A handler here calls the one that it found. Where it found none, and the signal would have killed
the process without a word, it cleans up first and lets the process die of the signal all the same.
"""

from __future__ import annotations

import _thread
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from . import _cpython

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

# Those that kill by default and come from outside; not every system has each.
FATAL = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGBREAK")
    if hasattr(signal, name)
)
# Of these only a default that kills is guarded; a terminal's CTRL-C is for the server to handle.
GUARDED = tuple(number for number in FATAL if number not in {signal.SIGTERM, signal.SIGINT})

# One event can reach a process twice, by its group and by its supervisor. A repeat that comes
# sooner (seconds) is not a second wish, unless the server itself takes it for one.
REPEAT = 0.25

# A signal that kills waits for what is being made, this long (seconds) and so many times.
PAUSE = 0.001
PAUSES = 1000


class Handler:
    """A signal handler over the one it found.

    Args:
        signum: The signal.
        previous: What was found: a callable, or SIG_DFL for a signal that kills.
        watch: Whom to tell.
    """

    def __init__(self, signum: int, previous: Any, watch: Watch) -> None:
        self.signum = signum
        self.previous = previous
        self._watch = watch
        self._pid = os.getpid()
        self._process = multiprocessing.current_process()
        self._last: float | None = None
        self._postponed = 0
        self._came_in: int | None = None  # the process in which it was last only passed on

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Note the signal, clean up if nothing else will, and do what would have been done."""
        if _came is not None:
            _came.append(signum)
            return
        pid = os.getpid()
        if pid != self._pid or not self._watch.active:
            if signum == signal.SIGTERM and multiprocessing.current_process() is not self._process:
                _die_of(signum)  # Where `Watch.unchain_worker` could not be called in a worker.
            self._came_in = pid
            self._pass_on(signum, frame)
            return
        if self.kills and _cpython.is_making_something() and self._postpone():
            return
        self._watch.seen = True
        now, last = time.monotonic(), self._last
        self._last = now
        repeated = last is not None and now - last >= REPEAT
        decides = hasattr(self.server, "force_exit")
        if self.kills or (repeated and not decides):
            self._clean(insists=repeated)
        self._pass_on(signum, frame)
        if decides and (self.server.force_exit or self._shutdown_will_be_skipped()):
            self._clean(insists=self.server.force_exit)

    @property
    def has_come_here(self) -> bool:
        """Whether it was passed on in this process, not in one that this was forked from."""
        return self._came_in == os.getpid()

    @property
    def kills(self) -> bool:
        """Whether the signal would kill the process, were it not for handlers of ours."""
        if isinstance(self.previous, Handler):
            return self.previous.kills
        return bool(self.previous == signal.SIG_DFL)

    @property
    def is_installed(self) -> bool:
        """Whether nobody has put another handler in the place of this one."""
        current: object = _cpython.get_handler(self.signum)
        return current is self

    @property
    def server(self) -> Any:
        """The server whose method the handler below is, such as uvicorn's `Server`."""
        return getattr(self.previous, "__self__", None)

    def _shutdown_will_be_skipped(self) -> bool:
        """Tell whether the server will leave without a word to the lifespan.

        uvicorn did so up to 0.34, told to stop between the app's start-up and its own.
        """
        if not self._watch.started or getattr(self.server, "started", True):
            return False
        serve = getattr(type(self.server), "_serve", None)
        return "started" not in getattr(getattr(serve, "__code__", None), "co_names", ("started",))

    def _clean(self, *, insists: bool) -> None:
        global _insists  # noqa: PLW0603 - there is one main thread
        _insists = insists
        try:
            self._watch.clean(signal.Signals(self.signum).name)
        finally:
            _insists = False

    def _postpone(self) -> bool:
        """Have the signal come again when the code that it cut into has gone on for a moment."""
        self._postponed += 1
        if self._postponed > PAUSES:
            return False
        return send_soon(self.signum, PAUSE)

    def _pass_on(self, signum: int, frame: FrameType | None) -> None:
        if callable(self.previous):
            self.previous(signum, frame)
        else:
            _die_of(signum)


def _die_of(signum: int) -> None:
    signal.signal(signum, signal.SIG_DFL)
    signal.raise_signal(signum)


def send_soon(signum: int, seconds: float) -> bool:
    """Send a signal to the main thread in a moment.

    Args:
        signum: The signal.
        seconds: How long to wait.

    Returns:
        Whether it will be sent: there may be no thread to be had.
    """
    try:
        _thread.start_new_thread(_send_after, (signum, seconds))
    except RuntimeError:  # There are too many, or the interpreter is ending.
        return False
    return True


def _send_after(signum: int, seconds: float) -> None:
    time.sleep(seconds)
    # To the main thread, which may wait in a system call by now.
    if sys.platform == "win32":
        signal.raise_signal(signum)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signum)


_insists = False


def insists() -> bool:
    """Tell whether the clean-up of this moment is that of a second signal: somebody insists."""
    return _insists


class Watch:
    """Handlers over some signals, for as long as a lifespan or a registered resource needs them.

    Args:
        clean: Cleans up, given the name of the signal; called in the main thread, at any moment.
    """

    def __init__(self, clean: Callable[[str], object]) -> None:
        self.clean = clean
        self.seen = False
        self.active = False
        self.started = False  # The app has started, so that the server has to end its lifespan.
        self._handlers: list[Handler] = []
        _watches.add(self)

    def chain(self, signals: Iterable[int]) -> None:
        """Watch signals, whoever handles them; ignored ones stay ignored."""
        for signum in signals:
            previous = _cpython.get_handler(signum) if in_main_thread() else None
            if callable(previous) or previous == signal.SIG_DFL:
                self._install(signum, previous)

    def guard(self, signals: Iterable[int]) -> None:
        """Watch those of the signals that would kill the process without a word."""
        for signum in signals:
            previous: Any = _cpython.get_handler(signum) if in_main_thread() else None
            guarded = isinstance(previous, Handler) and previous.kills
            if guarded or previous == signal.SIG_DFL:
                self._install(signum, previous)

    def _install(self, signum: int, previous: Any) -> None:
        handler = Handler(signum, previous, self)
        self.active = True
        with contextlib.suppress(ValueError, OSError):  # A sub-interpreter; SIGKILL and the like.
            _cpython.set_handler(signum, handler)
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
                _cpython.set_handler(handler.signum, handler.previous)
        self._handlers.clear()

    def restore_if_on_top(self) -> bool:
        """Restore, if everything can be put back here and now; tells whether it was."""
        if self._handlers and not in_main_thread():
            return False
        if not all([handler.is_installed for handler in self._handlers]):  # noqa: C419 - quicker
            return False
        self.active = False
        while self._handlers:
            handler = self._handlers.pop()
            _cpython.set_handler(handler.signum, handler.previous)
        return True

    def unguard(self) -> None:
        """Put back what guarded nothing but a default, in a forked child."""
        for handler in self._handlers:
            if handler.is_installed and handler.kills:
                signal.signal(handler.signum, signal.SIG_DFL)

    def unchain_worker(self) -> None:
        """Let SIGTERM kill a worker by fork, as it kills one by spawn.

        The server whose handler it has inherited does not run in it: SIGTERM would do nothing, and
        who terminates and joins the worker, the app or Python itself, would hang. Only the default
        kills it whatever it does; a handler in Python waits for the end of what runs in C.
        """
        for handler in self._handlers:
            if handler.signum == signal.SIGTERM and handler.is_installed:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                if handler.has_come_here:  # Before it was known to be a worker.
                    signal.raise_signal(signal.SIGTERM)


_watches: weakref.WeakSet[Watch] = weakref.WeakSet()


class _Fork:
    """Keeps a fatal signal from being lost in a fork.

    Python forgets in a child what came before it has set itself up. Where a default would have
    killed the child, a handler of ours must not be the reason that it lives on.
    """

    def __init__(self) -> None:
        self._masks: dict[int, set[int]] = {}  # by the thread that forks

    def before(self) -> None:
        """Block the signals, if any of them is guarded."""
        if any(watch.active for watch in list(_watches)):
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, FATAL)
            self._masks[threading.get_ident()] = set(mask)

    def in_parent(self) -> None:
        """Unblock them."""
        mask = self._masks.pop(threading.get_ident(), None)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def in_child(self) -> None:
        """Unblock them, once they kill again."""
        for watch in list(_watches):
            watch.unguard()
        self.in_parent()

    def in_worker(self) -> None:
        """Unchain what is a worker, not just any fork."""
        for watch in list(_watches):
            watch.unchain_worker()


if hasattr(os, "register_at_fork") and hasattr(signal, "pthread_sigmask"):
    _fork = _Fork()
    os.register_at_fork(
        before=_fork.before, after_in_parent=_fork.in_parent, after_in_child=_fork.in_child
    )
    _cpython.when_forked(_fork, _Fork.in_worker)


# The signals that came while they are held back.
_came: list[int] | None = None


class HeldBack:
    """Keeps signals from cutting into a clean-up in the main thread; they follow at its end."""

    def __enter__(self) -> None:
        global _came  # noqa: PLW0603 - there is one main thread
        self._found: dict[int, Any] = {}
        self._came: list[int] = []
        self._here = in_main_thread()
        if not self._here:
            return
        _came = self._came
        for signum in FATAL:
            previous: Any = _cpython.get_handler(signum)
            # A handler of ours holds back by itself.
            if not isinstance(previous, Handler) and (
                callable(previous) or previous == signal.SIG_DFL
            ):
                self._found[signum] = previous
                _cpython.set_handler(signum, self._note)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self._came.append(signum)

    def __exit__(self, *_error: object) -> None:
        global _came  # noqa: PLW0603 - there is one main thread
        if self._here:
            _came = None
            _let_go(self._found, self._came)


def _let_go(found: dict[int, Any], came: list[int]) -> None:
    """Put the handlers back, then raise what came; whichever handler raises, none is left out."""
    try:
        while found:
            signum = next(iter(found))
            _cpython.set_handler(signum, found[signum])
            del found[signum]
        while came:
            signum = came[0]
            came[:] = [number for number in came if number != signum]
            signal.raise_signal(signum)
    finally:
        if found or came:
            _let_go(found, came)


def in_main_thread() -> bool:
    """Tell whether this is the thread that can handle signals."""
    return _thread.get_ident() == threading.main_thread().ident
