"""A queue of jobs, a queue of results, and workers between them."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

from asgi_mpclean import Registry

if TYPE_CHECKING:
    from collections.abc import Callable


class Desk:
    """The two queues, registered, and what was left in each when it was cleaned up."""

    def __init__(self, method: str, size: int = 0) -> None:
        self.context: Any = multiprocessing.get_context(method)
        self.registry = Registry()
        self.jobs_left: list[int] = []
        self.results_left: list[int] = []
        self.jobs = self.registry.register(self.context.Queue(size), on_item=self.jobs_left.append)
        self.results = self.registry.register(
            self.context.Queue(), on_item=self.results_left.append
        )

    def start(self, work: Callable[..., None], stop: Callable[[], object]) -> Any:
        """Start a worker that takes jobs and puts results."""
        args = self.jobs, self.results
        process = self.registry.Process(target=work, args=args, ctx=self.context, stop=stop)
        process.start()
        return process

    def hand_in(self, count: int) -> None:
        """Put in so many jobs."""
        for number in range(count):
            self.jobs.put(number)
