"""The usual ways to ask workers to stop: a sentinel for each, an event, a pipe that is closed."""

from __future__ import annotations

import functools
import multiprocessing
from typing import TYPE_CHECKING, Any

import pytest
import workers

from asgi_mpclean import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 3
JOBS = 200


def by_sentinel(_context: Any, jobs: Any) -> tuple[Any, Callable[[], object]]:
    """Put one sentinel for each worker."""
    return workers.work_until_none, functools.partial(jobs.put, None)


def by_event(context: Any, _jobs: Any) -> tuple[Any, Callable[[], object]]:
    """Set an event that all of them look at."""
    asked = context.Event()
    return functools.partial(workers.work_until_set, asked=asked), asked.set


def by_pipe(context: Any, _jobs: Any) -> tuple[Any, Callable[[], object]]:
    """Close a pipe; with fork each worker has inherited the other end, and closes that first."""
    reader, writer = context.Pipe(duplex=False)
    inherited = writer if context.get_start_method() == "fork" else None
    work = functools.partial(workers.work_until_closed, alive=reader, inherited=inherited)
    return work, writer.close


@pytest.mark.parametrize("ask", [by_sentinel, by_event, by_pipe])
def test_a_worker_that_is_asked_finishes_the_job_in_hand(
    ask: Callable[[Any, Any], tuple[Any, Callable[[], object]]], method: str
) -> None:
    context: Any = multiprocessing.get_context(method)
    registry = Registry()
    jobs_left: list[int] = []
    results_left: list[int] = []
    jobs = registry.register(context.Queue(), on_item=jobs_left.append)
    results = registry.register(context.Queue(), on_item=results_left.append)
    work, stop = ask(context, jobs)
    started = [
        registry.Process(target=work, args=(jobs, results), ctx=context, stop=stop)
        for _ in range(WORKERS)
    ]
    for process in started:
        process.start()
    for number in range(JOBS):
        jobs.put(number)
    first = results.get(timeout=30)
    report = registry.clean(10)
    assert [process.exitcode for process in started] == [0] * WORKERS
    assert sorted([first, *results_left, *jobs_left]) == list(range(JOBS))
    assert (report.joined, report.forced, report.dropped) == (WORKERS, 0, 0)
    # Jobs that nobody has begun are delivered, not worked off.
    assert jobs_left == sorted(jobs_left)
    assert len(jobs_left) > JOBS // 2
