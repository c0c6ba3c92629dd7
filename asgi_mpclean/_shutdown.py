"""Who may clean up, and when: many triggers, one clean-up at a time, each thing cleaned once."""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import functools
import logging
import multiprocessing
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from . import _cpython, _signals
from ._callbacks import Caller, in_callback, is_left_to_main_thread, run_handed_over
from ._plan import Plan
from ._report import CleanupReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._registry import Registry

    OnReport = Callable[[CleanupReport], object]

logger = logging.getLogger("asgi_mpclean")

DEFAULT_TIMEOUT = 5.0
# The time (seconds) that logging and `on_report` may take once everything is done.
REPORTING = 1.0

# How often (seconds) who waits for the clean-up of another thread looks whether it can help.
LOOK = 0.02

# Switches every clean-up off, to see what a server does without the library.
DISABLED = os.environ.get("ASGI_MPCLEAN_DISABLE", "") not in {"", "0"}

_slot = _thread.allocate_lock()
# The threads that clean up, or wait for their turn.
_cleaning: set[int] = set()
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


def _at_exit() -> None:
    policy = _policy_here()
    _clean_by_policy("exit", policy, discover=policy.discover_at_exit)


def clean_at_signal(name: str) -> None:
    """Clean up because of a signal that kills the process."""
    policy = _policy_here()
    _clean_by_policy(name, policy, discover=policy.discover_at_signal)


def clean_before_exec() -> None:
    """Clean up everything, because another program takes the process over."""
    _clean_by_policy("exec", _policy_here(), discover=True)


def _clean_by_policy(trigger: str, policy: Policy, *, discover: bool) -> None:
    clean_up(
        None,
        trigger=trigger,
        timeout=policy.timeout,
        discover=discover,
        going_away=True,
        on_report=policy.on_report,
    )


def find_unregistered() -> list[object]:
    """Return what a clean-up would not discover any more, once the app has let go of it.

    Shared memory that is garbage-collected stays in the system, and nothing in the process tells
    its name.
    """
    return _cpython.shared_memory_made_here()


def clean_up(
    registry: Registry | None,
    *,
    trigger: str,
    timeout: float = DEFAULT_TIMEOUT,
    discover: bool = False,
    going_away: bool = False,
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
        on_report: Called with the report.
        report_nothing: Call it also if there was nothing to do.
    """
    start = time.monotonic()
    # Called by an `on_item`, or by a signal that came in the middle: somebody below us is at it.
    beneath = in_callback() or _thread.get_ident() in _cleaning
    if DISABLED or beneath or is_left_to_main_thread():
        return CleanupReport(trigger, timeout)
    # What a signal's handler raises must not keep the next clean-up from its turn, nor come
    # between what was done and its report.
    with _signals.held_back(), _turn(timeout) as taken:
        if not taken:
            return CleanupReport(trigger, timeout, time.monotonic() - start)
        report = _run_plan(
            _all() if registry is None or discover else [registry],
            trigger=trigger,
            start=start,
            timeout=timeout,
            discover=discover,
            going_away=going_away,
        )
        if report.resources or report.semaphores:
            _publish(report, on_report, in_handler=trigger.startswith("SIG") or trigger == "exec")
        elif report_nothing:
            _call(on_report, report)
        return report


def _take_slot(until: float) -> bool:
    while not _slot.acquire(timeout=LOOK):
        if threading.current_thread() is threading.main_thread():
            run_handed_over(until)
        if time.monotonic() >= until:
            return False
    return True


@contextlib.contextmanager
def _turn(timeout: float) -> Iterator[bool]:
    """Wait for the clean-up of another thread; tells whether it has ended in time."""
    thread = _thread.get_ident()
    _cleaning.add(thread)
    taken = _take_slot(time.monotonic() + timeout)
    try:
        yield taken
    finally:
        if taken:
            _slot.release()
        _cleaning.discard(thread)


def _run_plan(registries: list[Registry], **options: Any) -> CleanupReport:
    entries = [entry for registry in registries for entry in registry.begin_shutdown()]
    try:
        return Plan(entries, **options).run()
    finally:
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
        what = f"{entry.kind} {entry.name}"
        if entry.dropped:
            logger.warning("%s: %d items dropped", what, entry.dropped)
        if entry.cancelled:
            logger.warning("%s: %d jobs cancelled", what, entry.cancelled)
        if entry.error is not None:
            logger.warning("%s: on_item failed for %d items: %s", what, entry.failed, entry.error)
        if entry.outcome in {"killed", "still running"}:
            logger.warning("%s: %s", what, entry.outcome)
    if report.deadline_passed:
        logger.warning("the clean-up took longer than its %g s", report.timeout)


def _forget_the_parent() -> None:
    """Start anew in a forked child: what is registered belongs to the parent."""
    global _slot, _policy
    _slot, _policy = _thread.allocate_lock(), Policy()
    _cleaning.clear()
    _cpython.note_fork()
    for registry in _all():
        registry.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parent)
