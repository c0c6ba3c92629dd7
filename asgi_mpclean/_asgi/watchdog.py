"""Helping an app whose own shutdown waits for something that will not end by itself.

`worker.join()` after a `put(None)`, in a lifespan's own shutdown, waits for ever where the worker
is blocked on a full pipe, or ignores the sentinel; so may leaving the block of a `with Pool()`
after a CTRL-C. A clean-up that begins after the app's shutdown would never begin.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from asgi_mpclean._cpython import waiting
from asgi_mpclean._resources.worker import TERMINATE_AT

if TYPE_CHECKING:
    from collections.abc import Callable

# How often (seconds) the app is looked at.
WATCHDOG_LOOK_SECONDS = 0.1


class Watchdog:
    """Looks at the app from a thread of its own, and cleans up if it waits for too long.

    A worker that the app has asked to end gets the same time as one asked by a clean-up.

    Args:
        timeout: Seconds that the app's waiting and the clean-up may take together.
        clean: Cleans up, given the seconds that are left for it.
    """

    def __init__(self, timeout: float, clean: Callable[[float], None]) -> None:
        self._timeout = timeout
        self._clean = clean
        self._event_loop = threading.get_ident()
        self._stopped = threading.Event()
        thread = threading.Thread(target=self._watch, name="asgi_mpclean-watchdog", daemon=True)
        with contextlib.suppress(RuntimeError):  # There are too many threads.
            thread.start()

    def stop(self) -> None:
        """Stop looking, as the app has shut down."""
        self._stopped.set()

    def _watch(self) -> None:
        since: float | None = None
        while not self._stopped.wait(WATCHDOG_LOOK_SECONDS):
            now = time.monotonic()
            if not waiting.is_waiting_for_end(self._event_loop):
                since = None
            elif since is None:
                since = now
            elif now - since >= TERMINATE_AT * self._timeout:
                self._clean((1 - TERMINATE_AT) * self._timeout)
                since = None
