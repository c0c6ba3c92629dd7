"""A signal handler over the one it found."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Protocol

from asgi_mpclean._cpython.main_thread import send_soon
from asgi_mpclean._cpython.making import is_making_something
from asgi_mpclean._shutdown.state import STATE

from .decision import Action, Moment, decide

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# One event can reach a process twice, by its group and by its supervisor. A repeat that comes
# sooner (seconds) is not a second wish, unless the server itself takes it for one.
REPEAT_SECONDS = 0.25

# A signal that kills waits for what is being made, this long (seconds) and so many times.
PAUSE_SECONDS = 0.001
PAUSES = 1000


class Watcher(Protocol):
    """Whom a handler tells of its signal.

    Attributes:
        clean: Cleans up, given the name of the signal.
        active: The watch has not ended.
        seen: A signal has come.
        started: The app has started, so that the server has to end its lifespan.
    """

    clean: Callable[[str], object]
    active: bool
    seen: bool
    started: bool


class Handler:
    """A signal handler over the one it found.

    Args:
        signum: The signal.
        previous: What was found: a callable, or SIG_DFL for a signal that kills.
        watch: Whom to tell.
    """

    def __init__(self, signum: int, previous: Any, watch: Watcher) -> None:
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
        moment = self._look(signum)
        action = decide(moment)
        if action is Action.POSTPONE and not self._postpone():
            action = decide(moment._replace(making=False))
        if action is Action.HOLD_BACK and STATE.came is not None:
            STATE.came.append(signum)
        elif action is Action.DIE:
            _die_of(signum)
        elif action is Action.FORWARD:
            self._came_in = os.getpid()
            self._forward(signum, frame)
        elif action is Action.CLEAN_THEN_FORWARD:
            self._note()
            self._clean(insists=moment.repeated)
            self._forward(signum, frame)
        elif action is Action.FORWARD_THEN_LOOK:
            self._note()
            self._forward(signum, frame)
            self._clean_if_skipped()

    def _look(self, signum: int) -> Moment:
        if STATE.came is not None:
            return Moment(held_back=True)
        if os.getpid() != self._pid or not self._watch.active:
            # Where `Watch.unchain_worker` could not be called in a worker.
            other_process = multiprocessing.current_process() is not self._process
            return Moment(
                out_of_place=True, in_forked_worker=other_process and signum == signal.SIGTERM
            )
        kills = self.kills
        return Moment(
            kills=kills,
            making=kills and is_making_something(),
            repeated=self._last is not None and time.monotonic() - self._last >= REPEAT_SECONDS,
            server_decides=hasattr(self.server, "force_exit"),
        )

    def _note(self) -> None:
        self._watch.seen = True
        self._last = time.monotonic()

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
        return signal.getsignal(self.signum) is self

    @property
    def server(self) -> Any:
        """The server whose method the handler below is, such as uvicorn's `Server`."""
        return getattr(self.previous, "__self__", None)

    def _clean_if_skipped(self) -> None:
        """Clean up if the server will leave without a word to the lifespan."""
        forced = bool(getattr(self.server, "force_exit", False))
        if forced or self._shutdown_will_be_skipped():
            self._clean(insists=forced)

    def _shutdown_will_be_skipped(self) -> bool:
        """Tell whether the server ends without the lifespan, once it has been told to stop.

        uvicorn did so up to 0.34, told to stop between the app's start-up and its own.
        """
        if not self._watch.started or getattr(self.server, "started", True):
            return False
        serve = getattr(type(self.server), "_serve", None)
        return "started" not in getattr(getattr(serve, "__code__", None), "co_names", ("started",))

    def _clean(self, *, insists: bool) -> None:
        STATE.insists = insists
        try:
            self._watch.clean(signal.Signals(self.signum).name)
        finally:
            STATE.insists = False

    def _postpone(self) -> bool:
        """Have the signal come again when the code that it cut into has gone on for a moment."""
        self._postponed += 1
        return self._postponed <= PAUSES and send_soon(self.signum, PAUSE_SECONDS)

    def _forward(self, signum: int, frame: FrameType | None) -> None:
        if callable(self.previous):
            self.previous(signum, frame)
        else:
            _die_of(signum)


def _die_of(signum: int) -> None:
    signal.signal(signum, signal.SIG_DFL)
    signal.raise_signal(signum)
