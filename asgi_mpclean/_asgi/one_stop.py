"""granian's worker hears of a stop once, and not before it serves.

Its handler waits for ever, and all threads with it, when it is called twice before the worker
serves: what it writes to holds one item (`WorkerSignal.set`, granian 2.8). But CTRL-C is two
signals for it, as the terminal sends SIGINT and its supervisor SIGTERM; and uvloop may tell of one
signal twice, by its number in the pipe and by its Python handler.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from asgi_mpclean._shutdown.signals.guard import STOPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgi_mpclean._shutdown.signals.watch import Watch

# A worker that heard a stop before the lifespan began tells that of it within this time (seconds)
# of the start.
TOLD_SECONDS = 0.3


def granians_handler() -> Callable[[int, object], object] | None:
    """Return what granian's worker has given its event loop to be called at a stop.

    The loop does not tell, so it is looked for among all functions: that which was made inside of
    `granian._signals.set_loop_signals`. None where that is not so, and nothing is changed then.
    """
    maker = getattr(sys.modules.get("granian._signals"), "set_loop_signals", None)
    constants = getattr(getattr(maker, "__code__", None), "co_consts", ())
    codes = [constant for constant in constants if isinstance(constant, CodeType)]
    found = [thing for thing in gc.get_referrers(*codes) if isinstance(thing, FunctionType)]
    return found[0] if len(found) == 1 else None


class OneStop:
    """Takes the stops in the place of granian's worker, and gives it one of them.

    Args:
        watch: That of the lifespan.
        loop: The event loop, in whose thread this is made.
        stop: What stops the worker.
    """

    def __init__(self, watch: Watch, loop: Any, stop: Callable[[int, object], object]) -> None:
        self._watch = watch
        self._loop = loop
        self._stop = stop
        self._came = 0
        self._over = False
        self._serves_at: float | None = None

    def begin(self) -> None:
        """Take the stops, also those that the loop has not looked at; called before `Watch.chain`.

        Where no loop handles signals, as on Windows, all stays as it is.
        """
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            for signum in STOPS:
                self._loop.add_signal_handler(signum, self._note, signum)

    def give(self) -> None:
        """Stop the server, if it is to be, once it serves; the app has just started."""
        if self._serves_at is None:
            self._serves_at = self._loop.time() + TOLD_SECONDS
            self._look()

    def stop(self) -> None:
        """End, as the server has been told to stop; it hears no further stop."""
        self._over = True
        self._watch.take_over(self._loop)

    def _note(self, signum: int) -> None:
        self._came = signum
        self._look()

    def _look(self) -> None:
        if self._over or not self._came or self._serves_at is None:
            return
        left = self._serves_at - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._look)
            return
        self._over = True
        self._stop(self._came, None)
