"""What the children of these tests run, apart from `workers`."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

from asgi_mpclean import Registry


def read(queue: Any, ready: Any) -> None:
    """Read for ever."""
    ready.set()
    while True:
        queue.get()


def clean_copy(queue: Any, answer: Any) -> None:
    """Clean up what somebody else has made, and tell what became of it."""
    got: list[Any] = []
    registry = Registry()
    registry.register(queue, on_item=got.append)
    (report,) = registry.clean(2).resources
    answer.send((report.outcome, got))


def clean_own(kind: str, answer: Any) -> None:
    """Clean up a queue of one's own."""
    got: list[Any] = []
    registry = Registry()
    queue = registry.register(getattr(multiprocessing, kind)(), on_item=got.append)
    for number in range(3):
        queue.put(number)
    (report,) = registry.clean(2).resources
    answer.send((report.outcome, got))


def stay(ready: Any) -> None:
    """Do nothing, for long."""
    ready.set()
    time.sleep(60)


def double(number: int) -> int:
    """Be a job."""
    return 2 * number


def take_long(ready: Any) -> str:
    """Be a job that takes its time, and is finished all the same."""
    ready.touch()
    time.sleep(0.5)
    return "done"
