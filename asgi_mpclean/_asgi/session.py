"""One run of an app's lifespan: signals are watched, and at its end everything is cleaned up."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from asgi_mpclean._exec.restart import lifespan_began, lifespan_ended
from asgi_mpclean._shutdown import state, triggers
from asgi_mpclean._shutdown.discovery import find_unregistered
from asgi_mpclean._shutdown.journal import trace
from asgi_mpclean._shutdown.request import Request
from asgi_mpclean._shutdown.signals.watch import GUARDED, Watch

from .watchdog import Watchdog

if TYPE_CHECKING:
    from .options import Options


class Session:
    """One run of a lifespan: from the first signal watched to the clean-up."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._cleaned = False
        self._reported = False
        self._held: list[object] = []
        self._watchdog: Watchdog | None = None
        # One of its own: the app's threads may all be waiting in a queue. And made now, as it has
        # anyio import its backend, which would cost a tenth of a second at the exit.
        self._limiter = anyio.CapacityLimiter(1)
        self._watch = Watch(self._clean_in_handler)
        options.set_policy(serving=True)
        if not state.DISABLED:
            self._watch.chain(options.signals)
            self._watch.guard(GUARDED)
            lifespan_began()
            trace("lifespan")

    def has_started(self) -> None:
        """Note that the app has started."""
        self._watch.started = True

    @property
    def told_to_stop(self) -> bool:
        """Whether the process is about to end."""
        return self._watch.seen or self._watch.server_is_stopping()

    def is_ended_by_thread(self) -> bool:
        """Tell whether a thread is ending the process, and the app needs no other end."""
        return triggers.is_ended_by_thread()

    def is_stopping(self) -> None:
        """Watch over the app's own shutdown, and let it not forget what nobody registered."""
        if self._cleaned or state.DISABLED:
            return
        if self._watchdog is None:
            self._watchdog = Watchdog(self._options.timeout, self._clean_while_app_waits)
        if self._options.discover and self.told_to_stop:
            self._held = find_unregistered()
        elif self._options.discover:
            triggers.keep_until_exit()

    def _clean_in_handler(self, trigger: str) -> None:
        self._clean_up(trigger, going_away=True, in_handler=True)

    def _clean_while_app_waits(self, seconds: float) -> None:
        self._clean_up("overdue", going_away=self.told_to_stop, timeout=seconds)

    def _clean_up(
        self,
        trigger: str,
        *,
        going_away: bool,
        timeout: float | None = None,
        in_handler: bool = False,
    ) -> None:
        # Noted beforehand: a signal or a second cancellation may come in the middle of it.
        report_nothing, self._reported = not self._reported, True
        triggers.clean_up(
            Request(
                trigger,
                timeout or self._options.timeout,
                self._options.registry,
                discover=self._options.discover and going_away,
                going_away=going_away,
                on_report=self._options.on_report,
                report_nothing=report_nothing,
                in_handler=in_handler,
                insists=in_handler and state.STATE.insists,
            )
        )

    async def end(self) -> None:
        """Clean up, once, without blocking the event loop and whatever is cancelled meanwhile."""
        if self._cleaned or state.DISABLED:
            return
        self._cleaned = True
        if self._watchdog is not None:
            self._watchdog.stop()
        work = functools.partial(self._clean_up, "lifespan", going_away=self.told_to_stop)
        try:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(work, limiter=self._limiter)
        except BaseException:  # A second cancellation, or an event loop that is no more.
            work()
            raise
        finally:
            self._held.clear()
            lifespan_ended(self._options.timeout, signal_came=self._watch.seen)
            self._watch.restore()
            self._options.registry.leave_signals()
