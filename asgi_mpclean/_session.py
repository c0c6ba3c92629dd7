"""One run of an app's lifespan: signals are watched, and at its end everything is cleaned up."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from . import _restart, _shutdown, _signals
from ._overseer import Overseer
from ._trace import trace

if TYPE_CHECKING:
    from ._options import Options


def set_policy(options: Options, *, serving: bool) -> None:
    """Clean up as the app wants it also where its lifespan has no chance to."""
    if _shutdown.DISABLED:
        return
    _shutdown.set_policy(
        _shutdown.Policy(
            timeout=options.timeout,
            discover_at_exit=options.discover,
            discover_at_signal=options.discover,
            on_report=options.on_report,
            serving=serving,
        )
    )
    _shutdown.clean_at_exit()


class Session:
    """One run of a lifespan: from the first signal watched to the clean-up."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._cleaned = False
        self._reported = False
        self._held: list[object] = []
        self._overseer: Overseer | None = None
        # One of its own: the app's threads may all be waiting in a queue. And made now, as it has
        # anyio import its backend, which would cost a tenth of a second at the exit.
        self._limiter = anyio.CapacityLimiter(1)
        self._watch = _signals.Watch(self._clean_in_handler)
        set_policy(options, serving=True)
        if not _shutdown.DISABLED:
            self._watch.chain(options.signals)
            self._watch.guard(_signals.GUARDED)
            _restart.lifespan_began()
            trace("lifespan")

    def has_started(self) -> None:
        """Note that the app has started."""
        self._watch.started = True

    @property
    def told_to_stop(self) -> bool:
        """Whether the process is about to end."""
        return self._watch.seen or self._watch.server_is_stopping()

    def is_stopping(self) -> None:
        """Watch over the app's own shutdown, and let it not forget what nobody registered."""
        if self._cleaned or _shutdown.DISABLED:
            return
        if self._overseer is None:
            self._overseer = Overseer(self._options.timeout, self._clean_while_app_waits)
        if self._options.discover and self.told_to_stop:
            self._held = _shutdown.find_unregistered()
        elif self._options.discover:
            _shutdown.keep_until_exit()

    def _clean_in_handler(self, trigger: str) -> None:
        self._clean_up(trigger, going_away=True)

    def _clean_while_app_waits(self, seconds: float) -> None:
        self._clean_up("overdue", going_away=self.told_to_stop, timeout=seconds)

    def _clean_up(self, trigger: str, *, going_away: bool, timeout: float | None = None) -> None:
        # Noted beforehand: a signal or a second cancellation may come in the middle of it.
        report_nothing, self._reported = not self._reported, True
        _shutdown.clean_up(
            self._options.registry,
            trigger=trigger,
            timeout=timeout or self._options.timeout,
            discover=self._options.discover and going_away,
            going_away=going_away,
            on_report=self._options.on_report,
            report_nothing=report_nothing,
        )

    async def end(self) -> None:
        """Clean up, once, without blocking the event loop and whatever is cancelled meanwhile."""
        if self._cleaned or _shutdown.DISABLED:
            return
        self._cleaned = True
        if self._overseer is not None:
            self._overseer.stop()
        work = functools.partial(self._clean_up, "lifespan", going_away=self.told_to_stop)
        try:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(work, limiter=self._limiter)
        except BaseException:  # A second cancellation, or an event loop that is no more.
            work()
            raise
        finally:
            self._held.clear()
            _restart.lifespan_ended(self._options.timeout, signal_came=self._watch.seen)
            self._watch.restore()
            self._options.registry.leave_signals()
