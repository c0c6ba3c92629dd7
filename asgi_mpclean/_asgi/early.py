"""Stops that came before the server could hear them: they are given again when it can.

granian's worker sets its handlers once the lifespan has started, and uvloop hears nothing while it
does not run: what came before is forgotten, and the worker waits for ever.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from asgi_mpclean._shutdown.signals.handler import Hearing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asgi_mpclean._shutdown.signals.handler import _Chained

# How often (seconds) it is looked whether the server has set its handlers, and how many times.
EARLY_LOOK_SECONDS = 0.05
EARLY_LOOKS = 100


def give_again(handlers: Iterable[_Chained], loop: Any) -> None:
    """Give the signals of handlers again, in an event loop, as soon as they can be heard.

    Args:
        handlers: Those whose signal has come and may not have been heard.
        loop: The event loop of the lifespan, if it is asyncio's.
    """
    for handler in handlers:
        if loop is not None:
            loop.call_soon(_look, handler, loop, EARLY_LOOKS)


def _look(handler: _Chained, loop: Any, looks: int) -> None:
    if handler.hearing is Hearing.HEARD:
        return
    if handler.hearing is Hearing.MISSED or not handler.is_installed:
        handler.hearing = Hearing.HEARD
        signal.raise_signal(handler.signum)
    elif looks > 0:
        loop.call_later(EARLY_LOOK_SECONDS, _look, handler, loop, looks - 1)
