"""How workers are asked to stop, where that needs more than a function of the app's own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from .kinds import kind_of
from .queue import QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable


class WorkOff:
    """Asks a worker to end when it has worked off a queue.

    Args:
        queue: What the worker takes its jobs from.
    """

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def __call__(self) -> None:
        """Put the sentinel behind all jobs."""
        self.queue.put(None)


def work_off(queue: Any) -> Callable[[], None]:
    """Make a `stop` that has a worker do all the jobs of a queue first.

    It puts the sentinel None behind them. With any other `stop`, the jobs that nobody has begun go
    to the queue's `on_item` instead; with this one only those do for which there was no time: 70 %
    of `timeout`. Give it to each worker of the queue.

    Args:
        queue: What the worker takes its jobs from: a Queue, a JoinableQueue or a SimpleQueue.

    Returns:
        What to register the worker with: `register(process, stop=work_off(jobs))`.

    Raises:
        TypeError: If it is no such queue.
    """
    with contextlib.suppress(TypeError):
        if kind_of(queue) is QUEUE:
            return WorkOff(queue)
    message = f"work_off takes a queue of multiprocessing, not {queue!r}"
    raise TypeError(message)
