"""Calling the user's code during a clean-up: in order, and never waited for past the deadline.

A blocked `on_item`, `stop` or `on_report` cannot be interrupted, so it runs in a thread that can be
left behind. The threads come straight from `_thread`: a clean-up may run in a signal handler, over
a frame that holds the locks of `threading`.
"""

from __future__ import annotations

import _thread
import collections
import contextlib
import logging
import os
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from . import _cpython, _signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ._report import ResourceReport

logger = logging.getLogger("asgi_mpclean")

# A callback without visible progress for this long (seconds) no longer holds up the others.
PATIENCE = 0.2


class Call:
    """One call of user code, made somewhere else."""

    def __init__(self, function: Callable[[], object], what: str, *, can_wait: bool) -> None:
        self.can_wait = can_wait
        self._function = function
        self._what = what
        self._pid = os.getpid()
        self._pending = _thread.allocate_lock()
        self._pending.acquire()
        self.started = False
        self.made = time.monotonic()

    def run(self) -> None:
        """Make the call; what it raises is logged."""
        self.started = True
        try:
            self._function()
        except _OverdueError:
            pass
        except BaseException:
            logger.warning("%s raised", self._what, exc_info=True)
        finally:
            if os.getpid() != self._pid:
                os._exit(0)  # A child that the callback forked: no part of the clean-up is its own.
            self._pending.release()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for the end of the call; tells whether it has ended."""
        if self._pending.acquire(timeout=max(seconds, 0.0)):
            self._pending.release()
            return True
        return False


class Caller:
    """Makes calls one after the other, in a thread started for the first of them.

    Args:
        deadline: `time.monotonic()` after which nothing is waited for.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._waiting: list[Call] = []
        self._held_back: list[Call] | None = None
        self._postponed: list[Call] = []
        self._helped = 0.0
        self._threads = 0
        self._closed = False

    def call(self, function: Callable[[], object], what: str, *, can_wait: bool = False) -> Call:
        """Have `function` called.

        Args:
            function: What is called.
            what: Its name in the log.
            can_wait: Where there are no threads, call it only in `wait`: the workers end first.

        Returns:
            The call, whose end can be waited for.
        """
        call = Call(function, what, can_wait=can_wait)
        self._waiting.append(call)
        if self._held_back is not None:
            self._held_back.append(call)
        else:
            self._begin(call)
        return call

    def remaining(self) -> float:
        """Return the seconds until the deadline."""
        return max(self._deadline - time.monotonic(), 0.0)

    def has_thread(self) -> bool:
        """Tell whether a call can be made elsewhere than here."""
        return self._threads > 0 or self._start_thread()

    def _begin(self, call: Call) -> None:
        if self.has_thread():
            self._calls.put(call)
        elif call.can_wait:
            self._postponed.append(call)
        else:
            now = time.monotonic()
            self._run_here(call, now + (self._deadline - now) / 2)

    def hold_back(self) -> None:
        """Let the calls begin later, rather than take turns with what makes them."""
        self._held_back = []

    def begin_batch(self) -> None:
        """Begin with those held back so far, as there is something to be waited for."""
        calls = self._held_back
        while calls:
            self._begin(calls.pop(0))

    def begin(self) -> None:
        """Hold back no more."""
        self.begin_batch()
        self._held_back = None

    def help_out(self) -> None:
        """Start another thread if the calls do not get on; for who does not `wait` yet."""
        now = time.monotonic()
        last = self._waiting[-1] if self._waiting else None
        if last is None or last.started or now - max(last.made, self._helped) < PATIENCE:
            return
        self._helped = now
        self._start_thread()

    def wait(self, until: float | None = None) -> bool:
        """Wait for all calls made so far; tells whether they have ended."""
        until = self._deadline if until is None else min(until, self._deadline)
        while self._postponed:
            now = time.monotonic()
            share = (until - now) / len(self._postponed)
            self._run_here(self._postponed.pop(0), now + share)
        while self._waiting:
            # The last ends last, unless somebody is stuck: so this wakes up once, not every time.
            last = self._waiting[-1]
            remaining = until - time.monotonic()
            if last.wait(min(PATIENCE, max(remaining, 0.0))):
                self._waiting.pop()
            elif remaining <= 0:
                return False
            elif not last.started:
                self._start_thread()
        return True

    def close(self) -> None:
        """Let each thread end when no call is left for it; there will be no more."""
        self._closed = True
        for _ in range(self._threads):
            self._calls.put(None)

    def _start_thread(self) -> bool:
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:  # Python cannot start threads while it ends (3.12 and newer).
            return False
        self._threads += 1
        if self._closed:
            self._calls.put(None)
        return True

    def _run(self) -> None:
        with _calling():
            while (call := self._calls.get()) is not None:
                call.run()

    def _run_here(self, call: Call, until: float) -> None:
        if is_left_to_main_thread():
            _handed_over.append(call)
            return
        with _calling(), _alarm_at(until):
            call.run()


_calling_threads: set[int] = set()


@contextlib.contextmanager
def _calling() -> Iterator[None]:
    _calling_threads.add(_thread.get_ident())
    try:
        yield
    finally:
        _calling_threads.discard(_thread.get_ident())


def in_callback() -> bool:
    """Tell whether the calling code runs inside a callback of a clean-up."""
    return _thread.get_ident() in _calling_threads


def is_left_to_main_thread() -> bool:
    """Tell whether Python is ending, and this is a daemon thread.

    Here no callback could be interrupted any more, and no thread be left behind with it; the main
    thread has an alarm, and cleans up all the same.
    """
    if _signals.in_main_thread():
        return False
    return threading.current_thread().daemon and not threading.main_thread().is_alive()


# The calls of a clean-up that a daemon thread had begun before Python came to its end.
_handed_over: collections.deque[Call] = collections.deque()


def run_handed_over(until: float) -> None:
    """Make these calls in the main thread, which waits for that clean-up."""
    while _handed_over:
        with _calling(), _alarm_at(until):
            _handed_over.popleft().run()


class _OverdueError(BaseException):
    """Raised into user code that runs in the main thread at the deadline."""


@contextlib.contextmanager
def _alarm_at(deadline: float) -> Iterator[None]:
    """Interrupt the main thread at `deadline`, where the system has an alarm clock."""
    if not _signals.in_main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def overdue(_signum: int, _frame: object) -> None:
        raise _OverdueError

    previous = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous or signal.SIG_DFL)


class Sink:
    """Where the items of a queue go; here, nowhere."""

    def add_frames(self, frames: Sequence[bytes]) -> None:
        """Take pickled items."""

    def add_items(self, items: Sequence[Any]) -> None:
        """Take items that never were pickled."""

    def begin(self) -> None:
        """Begin with what was held back, as there is time now."""

    def end(self) -> None:
        """Say what became of them."""


class Delivery(Sink):
    """The items of one queue on their way to its `on_item`, counted.

    Args:
        report: Where delivered, dropped and failed items are counted.
        on_item: What receives them; without it they are dropped, and not even unpickled.
        caller: Makes the calls.
    """

    def __init__(
        self, report: ResourceReport, on_item: Callable[[Any], object] | None, caller: Caller
    ) -> None:
        self._report = report
        self._on_item = on_item
        self._caller = caller
        self._pending: collections.deque[tuple[Sequence[Any], bool]] = collections.deque()
        # Guards the end of a delivery against new items; never held while user code runs.
        self._lock = _thread.allocate_lock()
        self._scheduled = False
        self._ended = False
        self._pid = os.getpid()
        # Each is counted by one thread only, and read for the report once, at the end.
        self._added = self._received = self._failed = 0

    def add_frames(self, frames: Sequence[bytes]) -> None:
        """Deliver pickled items."""
        if frames:
            self._add(frames, pickled=True)

    def add_items(self, items: Sequence[Any]) -> None:
        """Deliver items that never were pickled."""
        if items:
            self._add(items, pickled=False)

    def _add(self, payloads: Sequence[Any], *, pickled: bool) -> None:
        self._added += len(payloads)
        if self._on_item is None:
            return
        with self._lock:
            self._pending.append((payloads, pickled))
            if self._scheduled:
                return
            self._scheduled = True
        self._caller.call(self._deliver, f"on_item of {self._report.name}", can_wait=True)

    def deliver_here(self, items: Sequence[Any]) -> None:
        """Deliver items in the calling thread, which is one that may be left behind."""
        self._added += len(items)
        if self._on_item is not None:
            self._pending.append((items, False))
            self._deliver()

    def _deliver(self) -> None:
        while True:
            with self._lock:
                if not self._pending:
                    self._scheduled = False
                    return
                payloads, pickled = self._pending.popleft()
            for payload in payloads:
                if self._ended or os.getpid() != self._pid:
                    return
                self._deliver_one(payload, pickled=pickled)

    def _deliver_one(self, payload: Any, *, pickled: bool) -> None:
        try:
            item = _cpython.loads(payload) if pickled else payload
        except _OverdueError:
            raise
        except BaseException as error:  # noqa: BLE001 - it is code of the user
            self._note(error)
            return
        try:
            self._on_item(item)  # type: ignore[misc]  # _add lets nothing in without one
        except _OverdueError:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the delivery
            self._failed += 1
            self._note(error)
        self._received += 1

    def _note(self, error: BaseException) -> None:
        if self._report.error is None:
            self._report.error = repr(error)

    def begin(self) -> None:
        """Let the delivery begin, if it is one of a batch, as there is time now."""
        self._caller.begin_batch()

    def end(self) -> None:
        """Report what has been delivered by now, and the rest as dropped."""
        self._ended = True
        received = self._received
        self._report.failed = self._failed
        self._report.delivered += received
        self._report.dropped += self._added - received
