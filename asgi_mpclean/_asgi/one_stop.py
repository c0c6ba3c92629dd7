"""granian's worker hears of a CTRL-C once, and not before it serves.

CTRL-C is two signals for it: the terminal sends SIGINT, and its supervisor SIGTERM. Its handler
waits for ever, and all threads with it, when it is called twice before the worker serves: what it
writes to holds one item (`WorkerSignal.set`, granian 2.8). One of the two is enough.
"""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asgi_mpclean._shutdown.signals.watch import Watch

# The supervisor sends SIGTERM within this time (seconds) after a SIGINT to both. And a worker that
# heard it before the lifespan began tells that of it within this time of the start.
TOLD_SECONDS = 0.3


class OneStop:
    """Takes SIGINT in the place of granian's worker, which gets SIGTERM for it if none follows.

    Args:
        watch: That of the lifespan.
        loop: The event loop, in whose thread this is made.
    """

    def __init__(self, watch: Watch, loop: Any) -> None:
        self._watch = watch
        self._loop = loop
        self._came = False
        self._over = False
        self._serves_at: float | None = None

    def begin(self) -> None:
        """Take SIGINT, also one that the loop has not looked at yet; called before `Watch.chain`.

        Where no loop handles signals, as on Windows, all stays as it is.
        """
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            self._loop.add_signal_handler(signal.SIGINT, self._interrupt)

    def give(self) -> None:
        """Stop the server, if it is to be, once it serves; the app has just started."""
        if self._serves_at is None:
            self._serves_at = self._loop.time() + TOLD_SECONDS
            self._look()

    def stop(self) -> None:
        """End, as the server has been told to stop; it hears no further stop."""
        self._over = True
        self._watch.take_over(self._loop)

    def _interrupt(self) -> None:
        self._came = True
        if self._serves_at is not None:
            self._serves_at = max(self._serves_at, self._loop.time() + TOLD_SECONDS)
        self._look()

    def _look(self) -> None:
        """Give SIGTERM, unless it has come, or the server has been told to stop anyway."""
        if self._over or not self._came or self._serves_at is None:
            return
        left = self._serves_at - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._look)
        elif signal.SIGTERM not in self._watch.came:
            self._over = True
            signal.raise_signal(signal.SIGTERM)
