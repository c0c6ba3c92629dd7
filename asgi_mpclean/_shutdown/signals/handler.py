"""A signal handler over the one it found, for all watches that need it."""

from __future__ import annotations

import enum
import multiprocessing
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from asgi_mpclean._cpython.interrupts import is_dead
from asgi_mpclean._cpython.main_thread import send_soon
from asgi_mpclean._cpython.making import is_making_something
from asgi_mpclean._shutdown.state import STATE

from .decision import Action, Moment, decide

if TYPE_CHECKING:
    from types import FrameType

# One CTRL-C can reach a process twice, by its group and by its supervisor. A signal that comes
# again sooner than this (seconds) does not count as a second one, unless the server counts it.
REPEAT_SECONDS = 0.25

# PyPy takes a handler that equals SIG_DFL for that itself, and lets the signal kill.
MAY_EQUAL_DEFAULT = sys.implementation.name == "cpython"

# The first process of a PID namespace, such as that of a container.
FIRST_PROCESS = 1

# A signal that kills waits for what is being made, this long (seconds) and so many times.
PAUSE_SECONDS = 0.001
PAUSES = 1000


class Hearing(enum.Enum):
    """Whether a server has heard the signal that came last."""

    NOTHING_CAME = "no signal has come"
    HEARD = "it says so, or its event loop has been told"
    MISSED = "its event loop does not run yet, and looks at nothing"
    UNKNOWN = "its handler has been called, which may be that of another process"


class Clean(Protocol):
    """Cleans up because of a signal."""

    def __call__(self, name: str, *, kills: bool) -> object:
        """Clean up.

        Args:
            name: That of the signal.
            kills: The signal kills the process next.
        """


class Watcher(Protocol):
    """A watch, as a handler sees it.

    Attributes:
        started: The app has started, so that the server has to end its lifespan.
        clean: Cleans up because of a signal.
    """

    started: bool
    clean: Clean

    def note(self, signum: int) -> None:
        """Note that a signal has come."""


class Handler:
    """A signal handler over the one it found, for which it answers whatever is asked.

    Some programs look for the server at the handler of its signals, others for a handler of their
    own: they find the attributes of what is below, its class and its equality.

    Args:
        signum: The signal.
        previous: What was found: a callable, or SIG_DFL for a signal that kills.
    """

    def __init__(self, signum: int, previous: Any) -> None:
        self._mpclean = _Chained(self, signum, previous)

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Note the signal, clean up if nothing else will, and do what would have been done."""
        self._mpclean.handle(signum, frame)

    def __getattr__(self, name: str) -> Any:
        if name == "_mpclean":  # `copy` asks before the attribute is there.
            raise AttributeError(name)
        return getattr(self._mpclean.previous, name)

    @property  # type: ignore[misc]  # read only
    def __class__(self) -> type:
        """The class of the handler below."""
        previous = self._mpclean.previous
        return type(previous) if callable(previous) else Handler

    @property
    def __module__(self) -> str:  # type: ignore[override]  # of an instance
        """The module of the handler below."""
        module: str = self._mpclean.previous.__module__
        return module

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # of an instance
        """The docstring of the handler below."""
        doc: str | None = self._mpclean.previous.__doc__
        return doc

    def __eq__(self, other: object) -> bool:
        previous = self._mpclean.previous
        answers = callable(previous) or MAY_EQUAL_DEFAULT
        return self is other or (answers and bool(previous == other))

    def __hash__(self) -> int:
        # Equal to SIG_DFL, `signal.getsignal` would return that in the place of this one.
        previous = self._mpclean.previous
        return hash(previous) if callable(previous) else object.__hash__(self)


class _Chained:
    """What a handler does and knows, apart from what it answers for another."""

    def __init__(self, handler: Handler, signum: int, previous: Any) -> None:
        self.signum = signum
        self.previous = previous
        self.watches: list[Watcher] = []
        self.hearing = Hearing.NOTHING_CAME
        self._handler = handler
        self._pid = os.getpid()
        self._process = multiprocessing.current_process()
        self._last: float | None = None
        self._postponed = 0
        self._came_in: int | None = None  # the process in which it was last only forwarded

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Do what `decide` says."""
        moment = self._look(signum)
        action = decide(moment)
        if action is Action.POSTPONE and not self._postpone():
            action = decide(moment._replace(making=False))
        if action is Action.HOLD_BACK and STATE.came is not None:
            STATE.came.append(signum)
        elif action is Action.DIE:
            die_of(signum)
        elif action is Action.FORWARD:
            self._came_in = os.getpid()
            self._forward(signum, frame)
        elif action is Action.CLEAN_THEN_FORWARD:
            self._note()
            self._clean(kills=moment.kills, insists=moment.repeated)
            self._forward(signum, frame)
        elif action is Action.FORWARD_THEN_LOOK:
            self._note()
            if callable(self.previous):
                STATE.caught.add(signum)
            self._forward(signum, frame)
            self.hearing = self._hear()
            self._clean_if_skipped()

    def _look(self, signum: int) -> Moment:
        if STATE.came is not None:
            return Moment(held_back=True)
        if os.getpid() != self._pid or not self.watches:
            # Where this Python does not tell workers by fork from other forks.
            other_process = multiprocessing.current_process() is not self._process
            return Moment(
                out_of_place=True, in_forked_worker=other_process and signum == signal.SIGTERM
            )
        kills = self.kills and not self._is_spared()
        return Moment(
            kills=kills,
            making=kills and is_making_something(),
            repeated=self._last is not None and time.monotonic() - self._last >= REPEAT_SECONDS,
            server_decides=hasattr(self.server, "force_exit"),
        )

    def _is_spared(self) -> bool:
        """Tell whether a server raises what it has caught, and the kernel lets this process live.

        The first process of a container goes on then, and so needs what it has.
        """
        return os.getpid() == FIRST_PROCESS and self.signum in STATE.caught

    def _note(self) -> None:
        self._last = time.monotonic()
        for watch in self.watches:
            watch.note(self.signum)

    def _hear(self) -> Hearing:
        """Tell whether the server has heard the signal that has just been forwarded to it."""
        if getattr(self.server, "should_exit", False) is True:
            return Hearing.HEARD
        if not is_loop(self.server):
            return Hearing.UNKNOWN
        descriptor = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(descriptor)
        return Hearing.MISSED if descriptor in STATE.wakeup_fds else Hearing.HEARD

    @property
    def has_come_here(self) -> bool:
        """Whether it was forwarded in this process, not in one that this was forked from."""
        return self._came_in == os.getpid()

    @property
    def kills(self) -> bool:
        """Whether the signal would kill the process, were it not for handlers of ours."""
        below = chained(self.previous)
        return below.kills if below is not None else is_default(self.previous)

    @property
    def is_installed(self) -> bool:
        """Whether nobody has put another handler in the place of this one."""
        return signal.getsignal(self.signum) is self._handler

    @property
    def server(self) -> Any:
        """The server whose method the handler below is, such as uvicorn's `Server`."""
        return getattr(self.previous, "__self__", None)

    def install(self) -> None:
        """Stand over what was found, if it does not yet.

        Raises:
            ValueError: This interpreter handles no signals.
            OSError: This signal cannot be handled.
        """
        if not self.is_installed:
            signal.signal(self.signum, self._handler)

    def replace_below(self, previous: Any) -> None:
        """Be over another handler than was found, which is there no more.

        Args:
            previous: The other handler.
        """
        self.previous = previous
        signal.signal(self.signum, self._handler)

    def take_off(self) -> None:
        """Put back what was found, if it is on top and no watch needs it."""
        if self.watches or not self.is_installed:
            return
        previous = self.previous
        while (below := chained(previous)) is not None and not below.watches:
            previous = below.previous
        if is_dead(previous):  # asyncio's, whose loop has ended meanwhile.
            previous = signal.default_int_handler
        signal.signal(self.signum, previous)

    def _clean_if_skipped(self) -> None:
        """Clean up if the server will end without a shutdown of the lifespan."""
        forced = bool(getattr(self.server, "force_exit", False))
        if forced or self._shutdown_will_be_skipped():
            self._clean(kills=False, insists=forced)

    def _shutdown_will_be_skipped(self) -> bool:
        """Tell whether the server ends without the lifespan, once it has been told to stop.

        uvicorn did so up to 0.34, told to stop between the app's start-up and its own.
        """
        started = any(watch.started for watch in self.watches)
        if not started or getattr(self.server, "started", True):
            return False
        serve = getattr(type(self.server), "_serve", None)
        return "started" not in getattr(getattr(serve, "__code__", None), "co_names", ("started",))

    def _clean(self, *, kills: bool, insists: bool) -> None:
        STATE.insists = insists
        try:
            for watch in reversed(self.watches[:]):  # The latest lifespan first.
                watch.clean(signal.Signals(self.signum).name, kills=kills)
        finally:
            STATE.insists = False

    def _postpone(self) -> bool:
        """Have the signal come again in a moment, so that the interrupted code can go on."""
        self._postponed += 1
        return self._postponed <= PAUSES and send_soon(self.signum, PAUSE_SECONDS)

    def _forward(self, signum: int, frame: FrameType | None) -> None:
        """Call the handler below, in its own place: it may look for itself there."""
        if not callable(self.previous):
            die_of(signum)
            return
        previous, was_installed = self.previous, self.is_installed
        if was_installed:
            signal.signal(signum, previous)
        try:
            previous(signum, frame)
        finally:
            if was_installed and self.watches and signal.getsignal(signum) is previous:
                signal.signal(signum, self._handler)


def chained(handler: object) -> _Chained | None:
    """Return what a handler of ours knows; None for any other, whatever class it claims."""
    if not issubclass(type(handler), Handler):
        return None
    known: _Chained = object.__getattribute__(handler, "_mpclean")
    return known


def chain_over(signum: int, previous: Any) -> _Chained:
    """Return what a new handler over `previous` knows, which is to be installed."""
    known: _Chained = object.__getattribute__(Handler(signum, previous), "_mpclean")
    return known


def is_loop(server: object) -> bool:
    """Tell whether a handler is a method of an event loop, as uvloop's is, rather than a server."""
    return hasattr(server, "run_forever")


def is_default(handler: object) -> bool:
    """Tell whether a handler is SIG_DFL itself, not what answers for it."""
    return chained(handler) is None and handler == signal.SIG_DFL


def die_of(signum: int) -> None:
    """Let the default action of a signal end this process."""
    signal.signal(signum, signal.SIG_DFL)
    signal.raise_signal(signum)
    # The kernel spares the first process of a container what kills by default. Without its queues
    # it cannot go on; with all it had, after a server that raises what it has caught, it does.
    if os.getpid() == FIRST_PROCESS and STATE.cannot_go_on:
        os._exit(128 + signum)
