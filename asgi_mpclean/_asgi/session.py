"""One run of an app's lifespan: signals are watched, and at its end what belongs to it is cleaned.

What belongs to the process is cleaned as well where the process goes away next: a server that was
told to stop by a signal raises that again and dies of it, or is a worker process of a supervisor.
After a CTRL-C the program may go on, and everything of its own waits for its exit.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import anyio.to_thread

from asgi_mpclean._cpython.main_thread import in_main_thread
from asgi_mpclean._registry.owner import CURRENT
from asgi_mpclean._registry.registry import Registry
from asgi_mpclean._shutdown import state, triggers
from asgi_mpclean._shutdown.discovery import find_unregistered
from asgi_mpclean._shutdown.journal import trace
from asgi_mpclean._shutdown.overdue import help_on
from asgi_mpclean._shutdown.request import Request
from asgi_mpclean._shutdown.signals import guard
from asgi_mpclean._shutdown.signals.guard import STOPS
from asgi_mpclean._shutdown.signals.handler import FIRST_PROCESS, is_loop
from asgi_mpclean._shutdown.signals.watch import GUARDED, Watch
from asgi_mpclean._shutdown.state import STATE
from asgi_mpclean._worker.forked import is_forked_worker

from .early import EarlyStops
from .one_stop import OneStop, granians_handler
from .watchdog import Watchdog

if TYPE_CHECKING:
    from asgi_mpclean._cpython.waiting import Waiting

    from .options import Options


# What granian's worker has loaded.
GRANIAN = "granian._signals"
# How often (seconds) it is looked for the end of a clean-up where no thread can wait for it.
LOOK_SECONDS = 0.02


class Session:
    """One run of a lifespan: from the first signal watched to the clean-up.

    Args:
        options: How to clean up.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self.registry = options.registry if options.registry is not None else Registry()
        self.loop: object = _running_loop()
        self._is_worker = multiprocessing.parent_process() is not None or is_forked_worker()
        self._ended = False
        self._reported = False
        self._held: list[object] = []
        self._watchdog: Watchdog | None = None
        self._watch = Watch(self._clean_in_handler)
        self._early_stops = EarlyStops(self._watch, self.loop)
        self._one_stop: OneStop | None = None
        options.set_policy(serving=True)
        if not state.DISABLED:
            STATE.sessions.append(self)
            STATE.spent = 0.0
            self._current = CURRENT.set(self.registry)
            handler = granians_handler() if self._is_granians(options) else None
            if handler is not None:
                self._one_stop = OneStop(self._watch, self.loop, handler)
                self._one_stop.begin()
            self._watch.chain(options.signals)
            self._watch.guard(GUARDED)
            trace("lifespan")
        # A limiter of our own: the app's threads may all be waiting in a queue. It is made now, as
        # that imports anyio's backend, which would take a tenth of a second at the exit; and after
        # the handlers, as a signal may come during that.
        self._limiter = anyio.CapacityLimiter(1)

    def has_started(self) -> None:
        """Note that the app has started, and that the server will be told so."""
        self._watch.started = True
        self.give_early_stops()

    def give_early_stops(self) -> None:
        """Give the server again what came before it could hear it."""
        self._early_stops.give_again()
        self.give_kept_stop()

    def give_kept_stop(self) -> None:
        """Give granian's worker the stop that was kept from it; others had theirs at once."""
        if self._one_stop is not None:
            self._one_stop.give()

    @property
    def told_to_stop(self) -> bool:
        """Whether the server has been told to stop, by a signal or otherwise."""
        return self._watch.seen or self._watch.server_is_stopping()

    def is_ended_by_thread(self) -> bool:
        """Tell whether another thread is ending the process, so that nothing else has to."""
        return triggers.is_ended_by_thread()

    def is_stopping(self) -> None:
        """Start the watchdog, and keep unregistered resources alive that the app lets go of."""
        if self._ended or state.DISABLED:
            return
        self._early_stops.stop()
        if self._watchdog is None:
            self._watchdog = Watchdog(self._options.timeout, self._clean_while_app_waits)
        if self._options.discover and self._process_goes_away():
            self._held = find_unregistered()
        elif self._options.discover:
            triggers.keep_until_exit()

    def server_has_heard(self) -> None:
        """Note that the server has told the lifespan to end."""
        self._early_stops.stop()
        if self._one_stop is not None:
            self._one_stop.stop()

    def _is_granians(self, options: Options) -> bool:
        """Tell whether this is a worker of granian, whose signals we may handle.

        A server in another child of granian's process has handlers of its own, by `signal.signal`.
        """
        server = getattr(signal.getsignal(signal.SIGINT), "__self__", self.loop)
        return (
            self._is_worker
            and self.loop is not None
            and GRANIAN in sys.modules
            and in_main_thread()
            and is_loop(server)
            and set(STOPS) <= set(options.signals)
        )

    def _process_goes_away(self, *, kills: bool = False) -> bool:
        """Tell whether no code of the program runs after the last lifespan.

        Args:
            kills: A signal kills the process next.
        """
        if self._is_worker:
            return kills or self.told_to_stop  # A worker process of a server.
        # What the server raises again does not kill the first process of a container.
        if not self._watch.server_raises_again() or os.getpid() == FIRST_PROCESS:
            return kills
        # With a guard of ours below the server's handler, the signal comes there when it is raised
        # again; whatever else stands there decides for itself.
        deadly = self._watch.came - {signal.SIGINT}
        return kills or any(not guard.watches(signum) for signum in deadly)

    def _clean_in_handler(self, name: str, *, kills: bool) -> None:
        self._clean_up(name, kills=kills, in_handler=True)

    def _clean_while_app_waits(self, waits: list[Waiting], seconds: float) -> None:
        help_on(waits, self._request("overdue", timeout=seconds))

    def _clean_up(self, trigger: str, *, kills: bool = False, in_handler: bool = False) -> None:
        triggers.clean_up(self._request(trigger, kills=kills, in_handler=in_handler))

    def _request(
        self,
        trigger: str,
        *,
        kills: bool = False,
        timeout: float | None = None,
        in_handler: bool = False,
    ) -> Request:
        others = [session for session in STATE.sessions if session is not self]
        going_away = not others and self._process_goes_away(kills=kills)
        # Noted beforehand: a signal or a second cancellation may come in the middle of it. Where
        # the rest waits for the exit, that will be reported.
        waits = self._watch.seen and not going_away
        report_nothing, self._reported = not (self._reported or waits), True
        STATE.reported |= report_nothing
        shared = any(session.registry is self.registry for session in others)
        return Request(
            trigger,
            timeout or self._options.timeout,
            None if going_away else () if shared else (self.registry,),
            discover=self._options.discover and going_away,
            going_away=going_away,
            stopping=self._watch.seen,
            on_report=self._options.on_report,
            report_nothing=report_nothing,
            in_handler=in_handler,
            insists=in_handler and STATE.insists,
        )

    async def end(self) -> None:
        """Clean up, once, without blocking the event loop and whatever is cancelled meanwhile."""
        if self._ended or state.DISABLED:
            return
        self._ended = True
        # Its thread begins before the loop has another turn, which the app may use to wait for
        # something that only the clean-up ends.
        ended = self._begin()
        try:
            with anyio.CancelScope(shield=True):
                await self._until(ended)
                # What the app has left to the loop has its turn while the watchdog looks on.
                await anyio.lowlevel.checkpoint()
        except BaseException:  # A second cancellation, or an event loop that is no more.
            ended.wait()
            raise
        finally:
            self._leave()

    async def _until(self, ended: threading.Event) -> None:
        try:
            if not ended.is_set():
                await anyio.to_thread.run_sync(ended.wait, limiter=self._limiter)
        except RuntimeError:  # There are too many threads for one more.
            while not ended.is_set():  # noqa: ASYNC110 - a thread sets it
                await anyio.sleep(LOOK_SECONDS)

    def end_at_once(self) -> None:
        """Clean up where nothing can be awaited: the lifespan is dropped, its loop is no more."""
        if self._ended or state.DISABLED or sys.is_finalizing():
            return
        self._ended = True
        self._work()
        self._leave()

    def _begin(self) -> threading.Event:
        """Clean up in a thread; returns what is set when that is done."""
        ended = threading.Event()

        def work() -> None:
            try:
                self._work()
            finally:
                ended.set()

        try:
            threading.Thread(target=work, name="asgi_mpclean-lifespan", daemon=True).start()
        except RuntimeError:  # There are too many threads.
            work()
        return ended

    def _work(self) -> None:
        if self._watchdog is None:
            self._clean_up("lifespan")
            return
        self._watchdog.pause()
        self._clean_up("lifespan")
        self._watchdog.resume()

    def _leave(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
        self._held.clear()
        with contextlib.suppress(ValueError):  # Another context, as where a lifespan is dropped.
            CURRENT.reset(self._current)
        state.end_session(self, self._options.timeout, signal_came=self._watch.seen)
        self._watch.stop()
        guard.leave()


def _running_loop() -> object:
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio and asyncio.get_running_loop()
    except RuntimeError:  # It is trio's.
        return None
