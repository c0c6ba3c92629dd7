"""The usual ways to ask workers to stop: a sentinel for each, an event, a pipe that is closed."""

from __future__ import annotations

import functools
import multiprocessing
from typing import TYPE_CHECKING, Any

import pytest
import workers
from desk import Desk

from asgi_mpclean import Registry, work_off

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
    desk = Desk(method)
    work, stop = ask(desk.context, desk.jobs)
    started = [desk.start(work, stop) for _ in range(WORKERS)]
    desk.hand_in(JOBS)
    first = desk.results.get(timeout=30)
    report = desk.registry.clean(10)
    assert [process.exitcode for process in started] == [0] * WORKERS
    assert sorted([first, *desk.results_left, *desk.jobs_left]) == list(range(JOBS))
    assert (report.joined, report.forced, report.dropped) == (WORKERS, 0, 0)
    by_kind = {entry.kind: entry.seconds for entry in report.resources}
    assert 0 < by_kind["Process"] <= by_kind["Queue"] <= report.seconds
    # Jobs that nobody has begun are delivered, not worked off.
    assert desk.jobs_left == sorted(desk.jobs_left)
    assert len(desk.jobs_left) > JOBS // 2


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_the_sentinel_is_left_to_a_worker_that_has_not_begun_to_read(kind: str) -> None:
    context: Any = multiprocessing.get_context("spawn")
    registry = Registry()
    jobs, results = registry.register(getattr(context, kind)()), context.Queue()
    stop = functools.partial(jobs.put, None)
    worker = registry.Process(
        target=workers.work_until_none, args=(jobs, results), ctx=context, stop=stop
    )
    worker.start()  # It still imports when the clean-up begins, which reads what others have put.
    report = registry.clean(20)
    assert (worker.exitcode, report.forced) == (0, 0)


@pytest.mark.parametrize("size", [0, 5], ids=["unbounded", "bounded"])
@pytest.mark.sampled(3)
def test_jobs_are_worked_off_if_stop_says_so(method: str, size: int) -> None:
    desk = Desk(method, size)
    for _ in range(WORKERS):
        desk.start(workers.work_until_none, work_off(desk.jobs))
    desk.hand_in(JOBS)
    report = desk.registry.clean(20)
    assert sorted(desk.results_left) == list(range(JOBS))
    assert desk.jobs_left == []
    assert (report.joined, report.forced, report.dropped) == (WORKERS, 0, 0)


def test_what_there_was_no_time_to_work_off_is_delivered(method: str) -> None:
    desk = Desk(method)
    desk.start(workers.work_until_none, work_off(desk.jobs))
    desk.hand_in(JOBS)
    assert desk.results.get(timeout=30) == 0
    report = desk.registry.clean(1)
    first_left = desk.jobs_left[0]
    assert desk.jobs_left == list(range(first_left, JOBS))
    # The job in its hand when the time was over went with the worker.
    assert desk.results_left in (list(range(1, first_left)), list(range(1, first_left - 1)))
    assert (report.forced, report.dropped) == (1, 0)


# Made in the test: other tests count the semaphores of this process.
@pytest.mark.parametrize("make", [list, multiprocessing.get_context("spawn").Lock])
def test_only_queues_are_worked_off(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="work_off takes a queue"):
        work_off(make())
