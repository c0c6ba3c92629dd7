"""Calling the user's code during a clean-up: in order, and never waited for past the deadline.

A blocked `on_item`, `stop` or `on_report` cannot be interrupted, so it runs in a thread that can be
left behind. The threads come straight from `_thread`: a clean-up may run in a signal handler, over
a frame that holds the locks of `threading`. Where no thread can be started, as at the interpreter's
end, the calls are made here, and an alarm interrupts them.
"""

from __future__ import annotations

import _thread
import queue
import time
from typing import TYPE_CHECKING

from .calls import Call, calling, run_here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A callback without visible progress for this long (seconds) no longer holds up the others.
PATIENCE_SECONDS = 0.2


class Runner:
    """Makes calls: `submit` them, `wait` for all, and `abandon` those that have not ended.

    Args:
        deadline: `time.monotonic()` after which nothing is waited for.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._way: _Threads | _NoThreads | None = None

    def submit(
        self, functions: Sequence[Callable[[], object]], what: str, *, deferrable: bool = False
    ) -> Call:
        """Have functions called, one after the other.

        Args:
            functions: What is called.
            what: Its name in the log.
            deferrable: Where there are no threads, call it only in `wait`: the workers end first.

        Returns:
            The call, whose end can be waited for.
        """
        call = Call(functions, what, deferrable=deferrable)
        self._choose().submit(call)
        return call

    def wait(self, until: float) -> bool:
        """Wait for all calls submitted so far; tells whether they have ended.

        Args:
            until: `time.monotonic()` at which to give up; with one that has passed, this only
                starts another thread if a call is stuck.
        """
        return self._way is None or self._way.wait(min(until, self.deadline))

    def abandon(self) -> None:
        """Let the threads end when no call is left for them; there will be no more."""
        if self._way is not None:
            self._way.abandon()

    @property
    def has_threads(self) -> bool:
        """Whether a call can be made elsewhere than here."""
        return isinstance(self._choose(), _Threads)

    def _choose(self) -> _Threads | _NoThreads:
        if self._way is None:
            threads = _Threads()
            self._way = threads if threads.start() else _NoThreads(self.deadline)
        return self._way


class _Threads:
    """Makes calls in a thread, and in another one when that is stuck."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._waiting: list[Call] = []
        self._helped = 0.0

    def submit(self, call: Call) -> None:
        self._waiting.append(call)
        self._calls.put(call)

    def wait(self, until: float) -> bool:
        while self._waiting:
            # The last call ends last, unless one is stuck: so this wakes up once, not per call.
            last = self._waiting[-1]
            remaining = until - time.monotonic()
            if last.wait(min(PATIENCE_SECONDS, remaining)):
                self._waiting.pop()
                continue
            self._help(last)
            if remaining <= 0:
                return False
        return True

    def _help(self, last: Call) -> None:
        """Start another thread, if the others seem to be stuck before they reach the last call."""
        now = time.monotonic()
        if not last.started and now - max(last.made, self._helped) >= PATIENCE_SECONDS:
            self._helped = now
            self._calls.put(last)
            self.start()

    def abandon(self) -> None:
        self._calls.put(None)

    def start(self) -> bool:
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:  # There are too many, or Python is ending (3.12 and newer).
            return False
        return True

    def _run(self) -> None:
        with calling():
            while (call := self._next()) is not None:
                call.run()

    def _next(self) -> Call | None:
        while (call := self._calls.get()) is None:
            alone = self._calls.empty()
            self._calls.put(None)  # For the other threads, and behind what came after it.
            if alone:
                break
        return call


class _NoThreads:
    """Makes calls here, each interrupted in time for the others."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._calls: list[Call] = []
        self._postponed: list[Call] = []

    def submit(self, call: Call) -> None:
        self._calls.append(call)
        if call.deferrable:
            self._postponed += [call] * call.size
            return
        now = time.monotonic()
        for _ in range(call.size):
            run_here(call, now + (self._deadline - now) / 2)

    def wait(self, until: float) -> bool:
        now = time.monotonic()
        while self._postponed and now < until:
            share = (until - now) / len(self._postponed)
            run_here(self._postponed.pop(0), now + share)
            now = time.monotonic()
        # A daemon thread leaves its calls to the main thread when Python is ending.
        return all(call.wait(until - time.monotonic()) for call in self._calls)

    def abandon(self) -> None:
        self._postponed.clear()
