"""Locks, and what is made of them: unlinked by the process that made them, and not closed."""

from __future__ import annotations

from typing import Any

from asgi_mpclean._cpython.semaphores import semaphore_names_of

from .base import Closer, Kind


class LockCloser(Closer):
    """Has the semaphores of a lock unlinked, if this process made it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        owned = self.context.snapshot.owns(self.resource)
        self.names = semaphore_names_of(self.resource) if owned else []
        self.report.outcome = "unlinked" if owned else "copy closed"


LOCK = Kind(
    "lock",
    (
        "multiprocessing.synchronize.SemLock",
        "multiprocessing.synchronize.Condition",
        "multiprocessing.synchronize.Event",
        "multiprocessing.synchronize.Barrier",
        "multiprocessing.sharedctypes.SynchronizedBase",
    ),
    LockCloser,
)
