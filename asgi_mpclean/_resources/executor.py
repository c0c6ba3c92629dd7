"""`ProcessPoolExecutor`: jobs in hand are finished, the others are cancelled."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.executors import (
    begin_executor_shutdown,
    cancel_jobs,
    executor_calls,
    executor_futures,
    executor_has_ended,
    executor_is_idle,
    executor_outcome,
    executor_processes,
    files_of_callbacks,
    freeze_executor,
    let_executor_answer,
    withdraw_jobs,
)
from asgi_mpclean._cpython.queues import feeder, feeder_is_idle
from asgi_mpclean._cpython.waiting import results_awaited
from asgi_mpclean._items.delivery import Sink

from .base import STOP, Kind, always
from .group import GroupCloser
from .queue import QueueCloser

if TYPE_CHECKING:
    import concurrent.futures
    import threading
    from collections.abc import Iterable

    from .base import Entry
    from .worker import WorkerCloser

# How long (seconds) the thread of an executor may take to pass on the last results.
ANSWER_SECONDS = 0.2
# How long (seconds) a feeder may take to send a job that no worker will take.
FEEDER_SECONDS = 0.5
# Where packages are installed: what a scheduler has not begun at the end is no job of the app's.
INSTALLED = ("site-packages", "dist-packages")


class ExecutorCloser(GroupCloser):
    """Takes a `ProcessPoolExecutor` through a clean-up.

    Where the process goes away, the executor itself is left open, as threads of the app may give it
    jobs until the very end: these are accepted, and not begun.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Taken now, as the shutdown of the executor drops its references to them.
        self._processes = executor_processes(self.resource)
        self._futures = executor_futures(self.resource)
        self._in_hand = [future for future in self._futures if future.running()]
        self._calls = executor_calls(self.resource)
        self._thread: threading.Thread | None = None
        self._frozen = False
        self._let_go = False
        self._forced = False
        # Whatever its state, its own thread may still be busy ending it.
        self._was = executor_outcome(self.resource)

    def begin(self) -> None:
        """Begin no more jobs.

        Its own `shutdown` is not called: without waiting, that lets go of what its thread needs
        for replacing workers (`max_tasks_per_child`), which then ends with a traceback; and who
        waits in it twice at a time, as the app may be doing it, closes its descriptors twice.
        """
        if not self.quietly:
            # A scheduler that nobody registered would print each job that is cancelled.
            forget = None if self.report.registered else _is_of_a_package
            self._thread = begin_executor_shutdown(self.resource, forget)
            return
        self._freeze()
        if self.report.registered:
            spared = {id(future) for future in results_awaited(by_daemons=True) + self._in_hand}
            waiting = [future for future in self._futures if id(future) not in spared]
            self.call(functools.partial(cancel_jobs, waiting), "the cancelled jobs of")

    def _freeze(self) -> None:
        self._frozen = True
        freeze_executor(self.resource)
        withdraw_jobs(self.resource)

    def look(self) -> list[WorkerCloser]:
        """Let the workers go, once they have finished what they had in hand."""
        new = super().look()
        if self._frozen:
            withdraw_jobs(self.resource)
            self._let_go = self._let_go or all(future.done() for future in self._in_hand)
        if self._let_go:
            self.terminate_workers()
        return new

    def is_busy(self) -> bool:
        """Tell whether it may start another worker."""
        return not self._forced and self._thread is not None and self._thread.is_alive()

    def force(self) -> None:
        """Wait for nothing but the workers there are; it is not broken when they are ended."""
        self._forced = True
        if not self._frozen:
            self._freeze()

    def processes(self) -> Iterable[Any]:
        """Return its processes as they are now."""
        return list(self._processes.copy().values())

    def finish(self) -> None:
        """Free a feeder that is blocked by jobs for workers that were killed, and who waits."""
        if self._calls is not None and feeder(self._calls) is not None:
            calls = QueueCloser(self._calls, self.report, Sink(), self.context.snapshot)
            calls.read_some()
            # What is left of the job in its hand may fill the pipe again.
            if feeder_is_idle(self._calls, 0.0) is False:
                calls.finish(time.monotonic() + FEEDER_SECONDS, users_ended=True)
        if self._frozen:
            let_executor_answer(self.resource, ANSWER_SECONDS)
            futures = executor_futures(self.resource)
            if self.quietly:
                told = {id(future) for future in results_awaited(by_daemons=False)}
                if self.report.registered:  # Whoever gave it a job that has died with its worker.
                    told |= {id(future) for future in self._in_hand}
                told -= {id(future) for future in results_awaited(by_daemons=True)}
                futures = [future for future in futures if id(future) in told]
            self.call(functools.partial(cancel_jobs, futures), "the cancelled jobs of")

    def end(self) -> None:
        """Count the jobs that will not be done."""
        super().end()
        if self._was and self.report.outcome == "closed":
            self.report.outcome = self._was
        if self._let_go and self.report.outcome == "terminated":
            self.report.outcome = "closed"
        futures = self._futures
        if not self.report.registered:
            in_hand = {id(future) for future in self._in_hand} if self._frozen else set()
            others = [future for future in futures if id(future) not in in_hand]
            futures = [future for future in others if not _is_of_a_package(future)]
        self.report.cancelled += sum(
            future.cancelled() or (self._frozen and not future.done()) for future in futures
        )


def _is_of_a_package(future: concurrent.futures.Future[Any]) -> bool:
    """Tell whether an installed package waits for a job, as a scheduler does for its own."""
    files = files_of_callbacks(future)
    return bool(files) and all(any(name in file for name in INSTALLED) for file in files)


def _has_ended(entry: Entry) -> bool:
    return executor_has_ended(entry.resource)


def _let_go(entry: Entry) -> int | None:
    """Let go of one that the app has dropped, which ends it, once its jobs are done."""
    return 0 if executor_is_idle(entry.resource) else None


EXECUTOR = Kind(
    "executor",
    ("concurrent.futures.process.ProcessPoolExecutor",),
    ExecutorCloser,
    options=STOP,
    is_spent=_has_ended,
    is_held=always,
    let_go=_let_go,
)
