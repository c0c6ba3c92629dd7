"""Ending what an app waits for in its own shutdown, and no more: it may still use the rest."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.exit import before_dill_exits, before_threads_are_joined
from asgi_mpclean._cpython.groups import pools_and_managers
from asgi_mpclean._cpython.interrupts import keep_status
from asgi_mpclean._cpython.pools import is_pool_of_dill, pool_of_result
from asgi_mpclean._cpython.waiting import results_awaited
from asgi_mpclean._resources.base import Entry
from asgi_mpclean._resources.kinds import kind_of
from asgi_mpclean._resources.queue import QUEUE, QueueCloser
from asgi_mpclean._resources.worker import PROCESS

from .closers import Closers
from .plan import Plan
from .request import Request
from .state import STATE, listed
from .triggers import clean_up, policy_here, registered_queues, run_plan
from .workers import WorkersEnd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asgi_mpclean._cpython.waiting import Waiting
    from asgi_mpclean._report import CleanupReport, ResourceReport

    from .state import Registered
    from .triggers import Publish


def help_on(waits: Sequence[Waiting], request: Request) -> CleanupReport:
    """Let calls of the app return in which nothing moves any more.

    A worker that it joins is ended, and what it may be blocked on is read; so are a pool and an
    executor with their workers; a queue is emptied. If it cannot be told what a call waits for, as
    with an item that nobody puts, all is cleaned up that `request` asks for.

    Args:
        waits: The calls.
        request: What to do where that cannot be told, and until when.

    Returns:
        What was done.
    """
    return clean_up(request, functools.partial(_help, waits))


def _help(waits: Sequence[Waiting], request: Request, publish: Publish) -> CleanupReport:
    found = [_awaited(waiting) for waiting in waits]
    if None in found:
        return run_plan(request, publish)
    # Code of the app runs on, whatever comes after its shutdown.
    return _end(found, request._replace(discover=False, going_away=False), publish)


def free_who_waits_for_pools() -> None:
    """End the pools from which a thread waits for a result that Python waits for at its exit."""
    results = results_awaited(by_daemons=False)
    pools = [pool for result in results if (pool := pool_of_result(result)) is not None]
    if pools:
        request = Request.before_threads_are_joined(policy_here())
        clean_up(request, functools.partial(_end, pools))


before_threads_are_joined(free_who_waits_for_pools)


def _end_pools_of_dill() -> None:
    """End the pools of `multiprocess`, which would end them in a way of its own next, or hang.

    It hangs where CTRL-C has met a worker that was about to take a job.
    """
    policy = policy_here()
    entries = [_entry(pool) for pool in pools_and_managers() if is_pool_of_dill(pool)]
    pools = [e.resource for e in entries if e.registered or policy.discover_at_exit]
    if pools:
        request = Request.at_exit(policy)._replace(discover=False, report_nothing=False)
        clean_up(request, functools.partial(_end, pools))
        keep_status()


before_threads_are_joined(functools.partial(before_dill_exits, _end_pools_of_dill))


def _end(resources: Iterable[Any], request: Request, publish: Publish) -> CleanupReport:
    entries = {id(resource): _entry(resource) for resource in resources}.values()
    others = [entry for entry in entries if entry.kind is not PROCESS]
    report = _end_workers([entry for entry in entries if entry.kind is PROCESS], request)
    if others:
        report.resources += Plan(others, request, registered_queues()).run().resources
    report.seconds = time.monotonic() - request.start
    publish(report)
    return report


def _awaited(waiting: Waiting) -> Any | None:
    """Return what a call waits for; None if that cannot be told."""
    resource: Any = pool_of_result(waiting.awaited) or waiting.awaited
    try:
        kind = kind_of(resource)
    except TypeError:
        return None
    return None if kind is QUEUE and waiting.method == "get" else resource


def _entry(resource: Any) -> Entry:
    """Return a resource with the options it was registered with."""
    registries: list[Registered] = listed(STATE.registries)
    for registry in registries:
        if (entry := registry.entry_of(resource)) is not None:
            return entry
    kind = kind_of(resource)
    return Entry(resource, kind, getattr(resource, "name", kind.name), registered=False)


def _end_workers(workers: Sequence[Entry], request: Request) -> CleanupReport:
    """End workers, reading meanwhile what is registered: one may be blocked by a full pipe."""
    closers = Closers(request)
    for entry in workers:
        closers.add(entry)
    if workers:
        for entry in registered_queues():
            closers.add(entry)
        WorkersEnd(closers, request.timeout, discover=False).wait()
    closers.each(QueueCloser.leave, closers.queues)
    closers.runner.wait(closers.deadline)
    closers.runner.abandon()
    closers.each(lambda queue: queue.delivery.end(), closers.queues)
    closers.report.resources = [r for r in closers.report.resources if _is_worth_telling(r)]
    return closers.report


def _is_worth_telling(report: ResourceReport) -> bool:
    return bool(report.outcome or report.delivered or report.dropped)
