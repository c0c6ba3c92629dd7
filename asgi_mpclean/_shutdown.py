"""Who may clean up, and when: many triggers, one clean-up at a time, each thing cleaned once."""

from __future__ import annotations

import _thread
import dataclasses
import functools
import logging
import multiprocessing
import os
import time
import weakref
from typing import TYPE_CHECKING, Any

from . import _cpython, _signals
from ._callbacks import Caller, in_callback, is_left_to_main_thread, run_handed_over
from ._plan import FINDERS, Plan
from ._report import CleanupReport
from ._trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._kinds import Entry
    from ._registry import Registry

    OnReport = Callable[[CleanupReport], object]

logger = logging.getLogger("asgi_mpclean")

DEFAULT_TIMEOUT = 5.0
# The time (seconds) that logging and `on_report` may take once everything is done.
REPORTING = 1.0

# How often (seconds) who waits for the clean-up of another thread looks whether it can help.
LOOK = 0.02

# Where NiceGUI keeps what it has to say to its native window. That is gone as well, or going.
MOOT = "nicegui.native."

# Switches every clean-up off, to see what a server does without the library.
DISABLED = os.environ.get("ASGI_MPCLEAN_DISABLE", "") not in {"", "0"}

_slot = _thread.allocate_lock()
# The threads that clean up, or wait for their turn.
_cleaning: set[int] = set()
# Until when (`time.monotonic()`) a thread that runs the exit functions may take to end the process.
_exit_until = 0.0
# What nobody registered, where a server ends a process without saying so.
_kept: list[object] = []
_running: Plan | None = None
_registries: weakref.WeakSet[Registry] = weakref.WeakSet()


@dataclasses.dataclass(frozen=True)
class Policy:
    """How to clean up where no lifespan does it: at a signal before any, and at the exit.

    Attributes:
        timeout: Seconds.
        discover_at_exit: Clean up also what nobody registered at the exit of the interpreter. A
            script without an app is left to Python there, which waits for its workers.
        discover_at_signal: The same at a signal that kills.
        on_report: Called with the report.
        serving: An app's lifespan has begun in this process. A worker that only imports the app
            ends as Python has it end: it waits until all that it has put has been read.
    """

    timeout: float = DEFAULT_TIMEOUT
    discover_at_exit: bool = False
    discover_at_signal: bool = True
    on_report: OnReport | None = None
    serving: bool = False


_policy = Policy()


def _policy_here() -> Policy:
    # Asked at the end, as a child does not know that it is one while it imports the main module.
    is_worker = multiprocessing.parent_process() is not None
    return Policy() if is_worker and not _policy.serving else _policy


def watch_registry(registry: Registry) -> None:
    """Clean `registry` as well when the process goes away."""
    _registries.add(registry)


def set_policy(policy: Policy) -> None:
    """Clean up in this way where no lifespan does it; the latest app's word counts."""
    global _policy  # noqa: PLW0603 - one process, one exit
    _policy = dataclasses.replace(policy, serving=policy.serving or _policy.serving)


def clean_at_exit() -> None:
    """From now on, clean up when the process ends by itself."""
    _cpython.at_process_exit(_at_exit)
    _cpython.note_tracker()
    logger.isEnabledFor(logging.INFO)  # It remembers the answer for the end, where time counts.


def _at_exit() -> None:
    global _exit_until  # noqa: PLW0603 - one process, one exit
    policy = _policy_here()
    # A thread that runs the exit functions ends the process next, as that of NiceGUI does which
    # sees that the window is gone: `os._exit`, whatever the other threads are doing.
    if is_left_to_main_thread():
        time.sleep(policy.timeout + REPORTING)
        return
    if not _signals.in_main_thread():
        _exit_until = time.monotonic() + policy.timeout + REPORTING
    _clean_by_policy("exit", policy, discover=policy.discover_at_exit)


def _before_threads_are_joined() -> None:
    """End executors at the exit of the interpreter, where Python would wait for all their jobs.

    Nothing runs any more that could use the rest, so that is cleaned up as well, and a job that
    waits for room in a queue gets it; but threads of the app may still need it.
    """
    policy = _policy_here()
    discover = policy.discover_at_exit and bool(_cpython.live_executors())
    if discover or any(registry.has_executors for registry in _all()):
        alone = _cpython.is_waited_for()
        _clean_by_policy(
            "exit", policy, discover=policy.discover_at_exit and not alone, executors_alone=alone
        )


_cpython.before_threads_are_joined(_before_threads_are_joined)


def is_ended_by_thread() -> bool:
    """Tell whether a thread is ending the process, and the app needs no other end."""
    return time.monotonic() < _exit_until


def clean_at_signal(name: str) -> None:
    """Clean up because of a signal that kills the process."""
    policy = _policy_here()
    _clean_by_policy(name, policy, discover=policy.discover_at_signal)


def clean_before_exec() -> None:
    """Clean up everything, because another program takes the process over."""
    _clean_by_policy("exec", _policy_here(), discover=True)


def _clean_by_policy(
    trigger: str, policy: Policy, *, discover: bool, executors_alone: bool = False
) -> None:
    clean_up(
        None,
        trigger=trigger,
        timeout=policy.timeout,
        discover=discover,
        going_away=not executors_alone,
        executors_alone=executors_alone,
        on_report=policy.on_report,
    )


def find_unregistered() -> list[object]:
    """Return what a clean-up would not discover any more, once the app has let go of it.

    Of a queue that is garbage-collected nobody can read the items, nor count them; shared memory
    then stays in the system, and nothing in the process tells its name.
    """
    return [*_cpython.queues_made_here(), *(thing for find in FINDERS for thing in find())]


def keep_until_exit() -> None:
    """In a process that multiprocessing has started, keep it from being forgotten until the exit.

    Such as a worker of hypercorn, which is told to stop without a signal.
    """
    if multiprocessing.parent_process() is not None:
        _kept[:] = find_unregistered()


def clean_up(
    registry: Registry | None,
    *,
    trigger: str,
    timeout: float = DEFAULT_TIMEOUT,
    discover: bool = False,
    going_away: bool = False,
    executors_alone: bool = False,
    on_report: OnReport | None = None,
    report_nothing: bool = False,
) -> CleanupReport:
    """Clean up, unless another thread is at it: then wait for it first.

    Args:
        registry: What to clean; None for all registries.
        trigger: What started it, for the report.
        timeout: Seconds it may take.
        discover: Clean up all registries, and what nobody registered.
        going_away: The process ends next: its threads and descriptors end with it.
        executors_alone: Leave all else registered.
        on_report: Called with the report.
        report_nothing: Call it also if there was nothing to do.
    """
    start = time.monotonic()
    thread = _thread.get_ident()
    # Called by an `on_item`, or by a signal that came in the middle: somebody below us is at it.
    beneath = in_callback() or thread in _cleaning
    if DISABLED or beneath or is_left_to_main_thread():
        return CleanupReport(trigger, timeout)
    insists = _signals.insists()
    if insists and _running is not None:
        _running.hurry()
    # What a signal's handler raises must not keep the next clean-up from its turn, nor come
    # between what was done and its report.
    with _signals.HeldBack():
        _cleaning.add(thread)
        try:
            if not _take_slot(start + timeout):
                return CleanupReport(trigger, timeout, time.monotonic() - start)
            try:
                report = _run_plan(
                    _all() if registry is None or discover else [registry],
                    trigger=trigger,
                    start=start,
                    timeout=timeout,
                    discover=discover,
                    going_away=going_away,
                    executors_alone=executors_alone,
                    hurry=insists,
                )
                trace("report", report)
                if report.resources or report.semaphores:
                    in_handler = trigger.startswith("SIG") or trigger == "exec"
                    _publish(report, on_report, in_handler=in_handler)
                elif report_nothing:
                    _call(on_report, report)
                return report
            finally:
                _slot.release()
        finally:
            _cleaning.discard(thread)


def _take_slot(until: float) -> bool:
    """Wait for the clean-up of another thread; tells whether it has ended in time."""
    while not _slot.acquire(blocking=False) and not _slot.acquire(timeout=LOOK):
        if _signals.in_main_thread():
            run_handed_over(until)
        if time.monotonic() >= until:
            return False
    return True


def _run_plan(
    registries: list[Registry], *, executors_alone: bool, hurry: bool, **options: Any
) -> CleanupReport:
    global _running  # noqa: PLW0603 - one at a time
    entries: list[Entry] = []
    for registry in registries:
        entries += registry.take_executors() if executors_alone else registry.begin_shutdown()
    try:
        _running = plan = Plan(entries, **options)
        if hurry:
            plan.hurry()
        return plan.run()
    finally:
        _running = None
        for registry in registries:
            registry.end_shutdown()


def _all() -> list[Registry]:
    return list(_registries)


def _publish(report: CleanupReport, on_report: OnReport | None, *, in_handler: bool) -> None:
    if in_handler:
        # The frame below may hold the lock of a logging handler.
        _call(log, report)
    else:
        log(report)
    _call(on_report, report)


def _call(function: OnReport | None, report: CleanupReport) -> None:
    if function is None:
        return
    caller = Caller(time.monotonic() + REPORTING)
    caller.call(functools.partial(function, report), "on_report")
    caller.wait()
    caller.close()


def log(report: CleanupReport) -> None:
    """Write one line, and a warning for each thing that a person should look at."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", report.summary())
    for entry in report.resources:
        what = entry.kind, entry.name
        if entry.dropped and (entry.registered or not entry.name.startswith(MOOT)):
            logger.warning("%s %s: %d items dropped", *what, entry.dropped)
        if entry.cancelled:
            logger.warning("%s %s: %d jobs cancelled", *what, entry.cancelled)
        if entry.error is not None:
            failed = entry.failed, entry.error
            logger.warning("%s %s: on_item failed for %d items: %s", *what, *failed)
        if entry.outcome in {"killed", "still running"}:
            logger.warning("%s %s: %s", *what, entry.outcome)
    if report.deadline_passed:
        logger.warning("the clean-up took longer than its %g s", report.timeout)


def _forget_the_parent() -> None:
    """Start anew in a forked child: what is registered belongs to the parent."""
    global _slot, _policy, _running
    _slot, _policy, _running = _thread.allocate_lock(), Policy(), None
    _cleaning.clear()
    _cpython.note_fork()
    for registry in _all():
        registry.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parent)
