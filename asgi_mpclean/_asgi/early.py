"""Stops that came before the server could hear them: they are given again when it can.

granian's worker sets its handlers before its loop runs, and uvloop hears nothing until then: what
came before is forgotten, and the worker waits for ever.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from asgi_mpclean._shutdown.signals import guard, unheard
from asgi_mpclean._shutdown.signals.handler import Hearing

if TYPE_CHECKING:
    from asgi_mpclean._shutdown.signals.watch import Watch

# How often (seconds) it is looked whether the server has set its handlers, and how long. It may
# also miss a stop between two runs of its loop, which granian's worker has.
EARLY_LOOK_SECONDS = 0.05
EARLY_SECONDS = 5.0
# A server that has heard another stop tells the lifespan within this time (seconds).
TOLD_SECONDS = 0.3


class EarlyStops:
    """Gives a stop again, in the event loop of a lifespan, as soon as it can be heard.

    One stop is enough, however many signals it came by: a second one could mean more.

    Args:
        watch: That of the lifespan.
        loop: Its event loop, if it is asyncio's.
    """

    def __init__(self, watch: Watch, loop: Any) -> None:
        self._watch = watch
        self._loop = loop
        self._over = False
        self._until = 0.0

    def give_again(self) -> None:
        """Begin, as the server is told next that the app has started."""
        if self._loop is not None and (guard.come() or self._watch.may_miss()):
            self._until = self._loop.time() + EARLY_SECONDS
            self._loop.call_soon(self._look)

    def stop(self) -> None:
        """End, as the server has been told to stop."""
        self._over = True

    def _look(self) -> None:
        came = [*guard.come(), *self._watch.come()]
        left = self._until - self._loop.time()
        if self._over or left <= 0 or any(each.hearing is Hearing.HEARD for each in came):
            return
        for handler in came:
            # Its supervisor may have told a server that it is to stop when it could hear.
            replaced = left < EARLY_SECONDS - TOLD_SECONDS and not handler.is_installed
            if handler.hearing is Hearing.MISSED or replaced:
                handler.hearing = Hearing.HEARD
                self._give(handler.signum)
                return
        unseen = unheard.take() & set(guard.STOPS) - {handler.signum for handler in came}
        if unseen:
            self._give(min(unseen))  # CTRL-C, if it is among them: the others followed from it.
            return
        self._loop.call_later(EARLY_LOOK_SECONDS, self._look)

    def _give(self, signum: int) -> None:
        self._watch.note(signum)
        signal.raise_signal(signum)
