"""Helping an app whose own shutdown waits for something that will not end by itself.

`worker.join()` after a `put(None)`, in a lifespan's own shutdown, waits for ever where the worker
is blocked on a full pipe, or ignores what it was told; so may leaving the block of a `with Pool()`
after a CTRL-C. A clean-up that begins when the app has shut down comes too late there.

Only a wait that began with the shutdown is helped, and only if nothing gets on meanwhile: workers
that end one after another, each in its time, are not cut short.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from asgi_mpclean._cpython.waiting import waiting_for_end
from asgi_mpclean._resources.worker import TERMINATE_AT
from asgi_mpclean._shutdown.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from asgi_mpclean._cpython.waiting import Place, Waiting

# How often (seconds) the app is looked at.
WATCHDOG_LOOK_SECONDS = 0.1


class Watchdog:
    """Looks at the app from a thread of its own, and helps where it waits for too long.

    A worker that the app has asked to end gets the same time as one asked by a clean-up.

    Args:
        timeout: Seconds that the app's waiting and the help may take together.
        help_on: Ends what is waited for, given where that is and the seconds left for it.
    """

    def __init__(self, timeout: float, help_on: Callable[[list[Waiting], float], None]) -> None:
        self._timeout = timeout
        self._help_on = help_on
        self._event_loop = threading.get_ident()
        # A supervisor may sit in `join` all its life. An ident and an address may be used again
        # by another wait, which is then not helped: better than to end a worker that is in use.
        self._ignored = {(w.place.thread, w.place.caller) for w in waiting_for_end(0)}
        self._since: dict[Place, float] = {}
        self._progress: Hashable = None
        self._paused = False
        self._stopped = threading.Event()
        thread = threading.Thread(target=self._watch, name="asgi_mpclean-watchdog", daemon=True)
        with contextlib.suppress(RuntimeError):  # There are too many threads.
            thread.start()

    def pause(self) -> None:
        """Look no more for now: the app has shut down, and a clean-up goes on from here."""
        self._paused = True

    def resume(self) -> None:
        """Look again: what the app has put off may block the event loop, which is to go on now."""
        self._paused = False

    def stop(self) -> None:
        """Look no more: the event loop goes on."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(WATCHDOG_LOOK_SECONDS):
            overdue = [] if self._paused else self._look(time.monotonic())
            if self._paused:
                self._since.clear()
            elif overdue and not self._stopped.is_set():
                self._help_on(overdue, (1 - TERMINATE_AT) * self._timeout)
                self._since.clear()
        self._since.clear()  # The frames in it hold what the app has let go of.

    def _look(self, now: float) -> list[Waiting]:
        """Note who waits, and return those for whom nothing has moved for too long."""
        found = [
            waiting
            for waiting in waiting_for_end(self._event_loop)
            if (waiting.place.thread, waiting.place.caller) not in self._ignored
        ]
        before, self._progress = self._progress, progress() if found else None
        known = self._since if self._progress == before else {}
        self._since = {waiting.place: known.get(waiting.place, now) for waiting in found}
        limit = TERMINATE_AT * self._timeout
        return [waiting for waiting in found if now - self._since[waiting.place] >= limit]
