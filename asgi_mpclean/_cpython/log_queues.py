"""Queues that carry log records: a `QueueHandler` writes them, a `QueueListener` reads them."""

from __future__ import annotations

import logging
import sys
from typing import Any

from .features import AVAILABLE, Feature
from .frames import frames_of_other_threads

_logging: Any = logging


def queues_of_handlers() -> list[Any]:
    """Return the queues that the handlers of this process write to; of any kind."""
    if Feature.LOGGING not in AVAILABLE or "logging.handlers" not in sys.modules:
        return []
    # A copy of the list is one step: another thread may be making a handler. See `gil`.
    handlers = [reference() for reference in _logging._handlerList[:]]
    queues = [getattr(handler, "queue", None) for handler in handlers]
    return [queue for queue in queues if queue is not None]


def queues_of_listeners() -> list[Any]:
    """Return the queues that a thread of a `QueueListener` reads in this process."""
    if Feature.LOGGING not in AVAILABLE or "logging.handlers" not in sys.modules:
        return []
    listener: Any = sys.modules["logging.handlers"].QueueListener
    found = []
    frame: Any
    for _, frame in frames_of_other_threads():
        caller = frame
        while caller is not None and caller.f_code is not listener._monitor.__code__:
            caller = caller.f_back
        if caller is not None:
            found.append(getattr(caller.f_locals.get("self"), "queue", None))
    frame = caller = None  # See `frames_of_other_threads`.
    return found
