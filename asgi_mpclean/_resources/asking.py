"""How workers are asked to stop, where that needs more than a function of the app's own."""

from __future__ import annotations

import contextlib
import functools
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


def refers_to(stop: Any, queue: Any) -> bool:
    """Tell whether a `stop` is about a queue: a method of it, or a function that has it at hand."""
    if isinstance(stop, functools.partial):
        return refers_to(stop.func, queue) or any(arg is queue for arg in stop.args)
    if getattr(stop, "__self__", None) is queue or getattr(stop, "queue", None) is queue:
        return True
    with contextlib.suppress(ValueError):  # Of a cell that is empty.
        cells = [cell.cell_contents for cell in getattr(stop, "__closure__", None) or ()]
        names = getattr(getattr(stop, "__code__", None), "co_names", ())
        variables = getattr(stop, "__globals__", {})
        return any(thing is queue for thing in [*cells, *map(variables.get, names)])
    return False
