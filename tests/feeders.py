"""Queues with items in them, and what their feeder threads have done."""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.queues import feeder_is_idle

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgi_mpclean import Registry

SPAWN: Any = multiprocessing.get_context("spawn")


class SlowToUnpickle:
    """Blocks who unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (time.sleep, (60,))


def filled(registry: Registry, on_item: Callable[[Any], object], count: int = 1) -> Any:
    """Return a registered queue with so many numbers in it, which a thread will deliver."""

    def give(item: object) -> None:  # What only stores an item needs no thread.
        on_item(item)

    queue = registry.register(SPAWN.SimpleQueue(), name="mail", on_item=give)
    for number in range(count):
        queue.put(number)
    return queue


def wait_until_sent(queue: Any) -> None:
    """Wait until the feeder has sent everything."""
    until = time.monotonic() + 10
    while not feeder_is_idle(queue, 1) and time.monotonic() < until:
        time.sleep(0.001)


def wait_until_taken(queue: Any) -> None:
    """Wait until the feeder has everything in hand that it can."""
    until = time.monotonic() + 10
    while queue._buffer and time.monotonic() < until:
        time.sleep(0.001)


class Cleanings(list[str]):
    """The names of the signals that a clean-up was asked for by."""

    def __call__(self, name: str, *, kills: bool) -> None:  # noqa: ARG002 - as a watch calls it
        self.append(name)
