"""The triggers of clean-ups: one clean-up at a time, and each resource is cleaned once."""

from __future__ import annotations

import _thread
import atexit
import functools
import logging
import multiprocessing
import time
from typing import TYPE_CHECKING

from asgi_mpclean._cpython.executors import live_executors
from asgi_mpclean._cpython.exit import at_process_exit, before_threads_are_joined
from asgi_mpclean._cpython.interrupts import keep_status
from asgi_mpclean._cpython.main_thread import in_main_thread
from asgi_mpclean._cpython.starting import refuse_starts
from asgi_mpclean._cpython.thread_errors import expect_thread_errors
from asgi_mpclean._cpython.tracker import note_tracker
from asgi_mpclean._items.calls import in_callback, is_left_to_main_thread, run_handed_over
from asgi_mpclean._items.runner import Runner
from asgi_mpclean._report import CleanupReport

from . import state
from .discovery import find_unregistered, unregistered_executors
from .journal import trace
from .log import log
from .plan import Plan
from .request import BY_CALL, Request
from .signals import guard
from .signals.held_back import HeldBack
from .state import STATE, Policy, listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgi_mpclean._resources.base import Entry

    from .state import OnReport, Registered

    Publish = Callable[[CleanupReport], object]
    Run = Callable[[Request, Publish], CleanupReport]

logger = logging.getLogger("asgi_mpclean")

# The time (seconds) that logging and `on_report` may take once everything is done.
REPORTING_SECONDS = 1.0
# A clean-up that begins so soon (seconds) after another is a part of the same stop: a server needs
# some time between its last lifespan and the exit. So much of the time may others have taken.
FOLLOWS_SECONDS = 1.0
MOST_OF_TIME = 0.9
# How often (seconds) a thread that waits for another's clean-up looks for calls left to it.
TURN_LOOK_SECONDS = 0.02
# The time (seconds) that a thread may take to start a process which has begun to.
STARTING_SECONDS = 0.5


def policy_here() -> Policy:
    """Return how to clean up where no lifespan does it."""
    # Asked at the end, as a child does not know that it is one while it imports the main module.
    is_worker = multiprocessing.parent_process() is not None
    return Policy() if is_worker and not STATE.policy.serving else STATE.policy


def clean_at_exit() -> None:
    """From now on, clean up when the process ends by itself."""
    at_process_exit(_at_exit)
    note_tracker()
    logger.isEnabledFor(logging.INFO)  # The logger caches the answer for the end.


def _at_exit() -> None:
    policy = policy_here()
    # A thread that runs the exit functions ends the process next, as that of NiceGUI does which
    # sees that the window is gone: `os._exit`, whatever the other threads are doing.
    if is_left_to_main_thread():
        time.sleep(policy.timeout + REPORTING_SECONDS)
        return
    if not in_main_thread():
        STATE.exit_until = time.monotonic() + policy.timeout + REPORTING_SECONDS
    clean_up(Request.at_exit(policy))
    keep_status()


@atexit.register
def _wait_for_clean_up() -> None:
    """Wait for a clean-up that another thread is at, if that runs the exit functions as well.

    Neither `atexit` nor multiprocessing would make the second one wait, and it ends the process.
    """
    if STATE.threads:
        _at_exit()


def _before_threads_are_joined() -> None:
    """End executors at the exit of the interpreter, where Python would wait for all their jobs.

    The rest is left alone, as threads and exit functions of the app are still to come; but a job
    that waits for room in a queue gets it.
    """
    policy = policy_here()
    discovers = policy.discover_at_exit and bool(live_executors())
    if discovers or any(registry.has_executors() for registry in listed(STATE.registries)):
        clean_up(Request.before_threads_are_joined(policy))
        keep_status()


before_threads_are_joined(_before_threads_are_joined)


def is_ended_by_thread() -> bool:
    """Tell whether another thread is ending the process, so that nothing else has to."""
    return time.monotonic() < STATE.exit_until


def clean_at_signal(name: str, *, kills: bool) -> None:
    """Clean up everything because of a signal that kills the process."""
    if kills:
        report = clean_up(Request.at_signal(name, policy_here()))
        if report.resources or report.semaphores:
            STATE.cannot_go_on = True


def clean_before_exec() -> None:
    """Clean up everything, because another program takes the process over."""
    clean_up(Request.before_exec(policy_here()))


def keep_until_exit() -> None:
    """In a process that multiprocessing has started, keep unregistered resources until the exit.

    A worker of hypercorn is such a process: it is told to stop without a signal.
    """
    if multiprocessing.parent_process() is not None:
        STATE.kept[:] = find_unregistered()


def clean_up(request: Request, run: Run | None = None) -> CleanupReport:
    """Clean up, unless another thread is at it: then wait for it first.

    Args:
        request: What is asked for.
        run: Does it in a way of its own, and publishes the report by the function it is given.

    Returns:
        What was done: nothing, if this is called in the course of a clean-up.
    """
    request, thread = _begin(request), _thread.get_ident()
    # Called by an `on_item`, or by a signal in the middle of a clean-up of this thread.
    beneath = in_callback() or thread in STATE.threads
    if state.DISABLED or beneath or is_left_to_main_thread():
        return CleanupReport(request.trigger, request.timeout)
    if request.insists and STATE.running is not None:
        STATE.running.hurry()
    # An exception of a signal handler must not keep the next clean-up from its turn, nor lose the
    # report of this one.
    with HeldBack():
        STATE.threads.add(thread)
        try:
            return _clean_up_in_turn(request, run or run_plan)
        finally:
            STATE.threads.discard(thread)


def _begin(request: Request) -> Request:
    """Return a request with its start: that of the clean-up before, if it is a part of the same.

    A stop is one for who waits for its end, though it may trigger one clean-up of a lifespan, one
    of executors at the exit, and one of the rest: all have one `timeout`.
    """
    if request.start or request.trigger in BY_CALL:
        return request.begun()
    follows = time.monotonic() - STATE.ended <= FOLLOWS_SECONDS
    spent = min(STATE.spent, MOST_OF_TIME * request.timeout) if follows else 0.0
    return request._replace(start=time.monotonic() - spent)


def _note_spent(request: Request) -> None:
    """Note how much of the time has been spent."""
    if request.trigger not in BY_CALL:
        now = time.monotonic()
        STATE.spent = now - request.start
        STATE.ended = float("inf") if request.executors_alone else now


def _clean_up_in_turn(request: Request, run: Run) -> CleanupReport:
    if not _take_slot(request.start + request.timeout):
        seconds = time.monotonic() - request.start
        return CleanupReport(request.trigger, request.timeout, seconds)
    try:
        report = run(request, functools.partial(_publish, request))
        trace("report", report)
        if report.resources:  # What had nothing to do takes no time from the next.
            _note_spent(request)
        return report
    finally:
        STATE.slot.release()


def _take_slot(until: float) -> bool:
    """Wait for the clean-up of another thread; tells whether it has ended in time."""
    slot = STATE.slot
    while not slot.acquire(blocking=False) and not slot.acquire(timeout=TURN_LOOK_SECONDS):
        if in_main_thread():
            run_handed_over(until)
        if time.monotonic() >= until:
            return False
    return True


def run_plan(request: Request, publish: Publish) -> CleanupReport:
    """Clean up what is asked for; for `clean_up`, which sees to it that only one does.

    Args:
        request: What is asked for.
        publish: Logs and reports what was done, before the queues of logs are ended.

    Returns:
        What was done.
    """
    registries: list[Registered] = listed(STATE.registries)
    if request.going_away or request.stopping:
        expect_thread_errors(going_away=request.going_away)
    if request.executors_alone:
        report = _end_executors(request, registries)
        publish(report)
        return report
    if request.registries is not None and not request.discover:
        registries = list(request.registries)
    entries: list[Entry] = []
    for registry in registries:
        entries += registry.begin_shutdown()
    if request.going_away:
        refuse_starts(time.monotonic() + STARTING_SECONDS)
    try:
        STATE.running = plan = Plan(entries, request)
        report = plan.run()
    finally:
        STATE.running = None
        for registry in registries:
            registry.end_shutdown()
        guard.leave()
    publish(report)
    plan.end_logs()
    return report


def _end_executors(request: Request, registries: list[Registered]) -> CleanupReport:
    entries: list[Entry] = []
    for registry in registries:
        entries += registry.take_executors()
    if request.discover:
        entries += unregistered_executors(entries)
    try:
        STATE.running = plan = Plan(entries, request._replace(discover=False), registered_queues())
        return plan.run()
    finally:
        STATE.running = None


def registered_queues() -> list[Entry]:
    """Return the queues that a worker may wait for room in."""
    registries: list[Registered] = listed(STATE.registries)
    return [entry for registry in registries for entry in registry.queues()]


def _publish(request: Request, report: CleanupReport) -> None:
    if not (report.resources or report.semaphores):
        if request.report_nothing:
            _call(request.on_report, report)
        return
    STATE.reported = True
    if request.in_handler:
        # The interrupted code may hold the lock of a logging handler.
        _call(log, report)
    else:
        log(report)
    _call(request.on_report, report)


def _call(function: OnReport | None, report: CleanupReport) -> None:
    if function is None:
        return
    runner = Runner(time.monotonic() + REPORTING_SECONDS)
    runner.submit([functools.partial(function, report)], "on_report")
    runner.wait(runner.deadline)
    runner.abandon()
