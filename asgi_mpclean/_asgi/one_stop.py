"""granian's worker hears of a stop once, and not before it serves.

Its handler waits for ever, and all threads with it, when it is called twice before the worker
serves: what it writes to holds one item (`WorkerSignal.set`, granian 2.8). But CTRL-C is two
signals for it, as the terminal sends SIGINT and its supervisor SIGTERM; and uvloop may tell of one
signal twice, by its number in the pipe and by its Python handler.
"""

from __future__ import annotations

import gc
import sys
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asgi_mpclean._shutdown.signals.watch import Watch

# A worker that heard a stop before the lifespan began tells that of it within this time (seconds)
# of the start.
TOLD_SECONDS = 0.3


def granians_handler() -> FunctionType | None:
    """Return what granian's worker has given its event loop to be called at a stop.

    The loop does not tell, so it is looked for among all functions: that which was made inside of
    `granian._signals.set_loop_signals`, around one event. None where that is not so, and nothing
    is changed then.
    """
    maker = getattr(sys.modules.get("granian._signals"), "set_loop_signals", None)
    constants = getattr(getattr(maker, "__code__", None), "co_consts", ())
    codes = [constant for constant in constants if isinstance(constant, CodeType)]
    found = [thing for thing in gc.get_referrers(*codes) if isinstance(thing, FunctionType)]
    return found[0] if len(found) == 1 and len(found[0].__closure__ or ()) == 1 else None


class OneStop:
    """Stands in the place of the event that granian's handler sets, and sets it once.

    The handler itself stays where it is: the loop may have queued it before this is made.

    Args:
        watch: That of the lifespan.
        loop: The event loop, in whose thread this is made.
        handler: See `granians_handler`.
    """

    def __init__(self, watch: Watch, loop: Any, handler: FunctionType) -> None:
        self._watch = watch
        self._loop = loop
        self._handler = handler
        self._event: Any = None
        self._came = False
        self._over = False
        self._serves_at: float | None = None

    def begin(self) -> None:
        """Take the event's place, also for stops that the loop has not looked at.

        Where no loop handles signals, as on Windows, all stays as it is.
        """
        if sys.platform == "win32":
            return
        (cell,) = self._handler.__closure__ or ()
        found = cell.cell_contents
        self._event = found._event if isinstance(found, OneStop) else found  # noqa: SLF001 - its own
        cell.cell_contents = self

    def give(self) -> None:
        """Stop the server, if it is to be, once it serves; the app has just started."""
        if self._serves_at is None:
            self._serves_at = self._loop.time() + TOLD_SECONDS
            self._look()

    def stop(self) -> None:
        """End, as the server has been told to stop; it hears no further stop."""
        self._over = True
        self._watch.take_over(self._loop)

    def set(self) -> None:
        """Note a stop; granian's handler takes this for its event."""
        self._came = True
        self._look()

    def _look(self) -> None:
        if self._over or not self._came or self._serves_at is None:
            return
        left = self._serves_at - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._look)
            return
        self._over = True
        self._event.set()
