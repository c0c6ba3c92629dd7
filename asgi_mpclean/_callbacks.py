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
from typing import TYPE_CHECKING

from . import _signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


logger = logging.getLogger("asgi_mpclean")

# So much (bytes, or items that are not pickled) is delivered without a thread where that is safe;
# beyond it a thread that works beside the rest of the clean-up is worth its start.
FEW = 1024
# A callback without visible progress for this long (seconds) no longer holds up the others.
PATIENCE = 0.2


# How often this process, or one that it comes from, was forked: a child can tell that it is one,
# at less than the price of asking the system for its number.
forks = 0


def _note_fork() -> None:
    global forks  # noqa: PLW0603 - one process
    forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


class Call:
    """One call of user code, or several that are waited for as one, made somewhere else.

    Args:
        functions: What is called, one after the other.
        what: Its name in the log.
        can_wait: Where there are no threads, call it only when everything else is done.
    """

    def __init__(
        self, functions: Sequence[Callable[[], object]], what: str, *, can_wait: bool
    ) -> None:
        self.size = len(functions)
        self.can_wait = can_wait
        self.made = time.monotonic()
        self._functions = collections.deque(functions)
        self._what = what
        self._forks = forks
        self._pending = _thread.allocate_lock()
        self._pending.acquire()
        # Who takes the last of these is the last to end; taking one is atomic.
        self._unended = [n == 0 for n in range(self.size)]

    @property
    def started(self) -> bool:
        """Whether the last of it has begun."""
        return not self._functions

    def run(self) -> None:
        """Make the calls that nobody has begun; several threads may, where one is stuck."""
        while self._functions:
            self.run_next()

    def run_next(self) -> None:
        """Make the next call; what it raises is logged."""
        try:
            function = self._functions.popleft()
        except IndexError:  # Another thread was quicker.
            return
        try:
            function()
        except OverdueError:
            pass
        except BaseException:
            logger.warning("%s raised", self._what, exc_info=True)
        finally:
            if self._forks != forks:
                os._exit(0)  # A child that the callback forked: no part of the clean-up is its own.
            if self._unended.pop():
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
        self._few = FEW
        self._deadline = deadline
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._waiting: list[Call] = []
        self._held_back: list[Callable[[], object]] | None = None
        self._postponed: list[Call] = []
        self._helped = 0.0
        self._threads = 0

    def call(self, function: Callable[[], object], what: str) -> Call:
        """Have `function` called.

        Args:
            function: What is called.
            what: Its name in the log.

        Returns:
            The call, whose end can be waited for.
        """
        return self._begin(Call([function], what, can_wait=False))

    def deliver(self, function: Callable[[], object]) -> None:
        """Have `function` called, which gives items to an `on_item`.

        It may be held back, and where there are no threads it is only called in `wait`: the
        workers end first.
        """
        if self._held_back is not None:
            self._held_back.append(function)
        else:
            self._begin(Call([function], "on_item", can_wait=True))

    def remaining(self) -> float:
        """Return the seconds until the deadline."""
        return max(self._deadline - time.monotonic(), 0.0)

    def is_few(self, size: int) -> bool:
        """Tell whether so much more can be delivered without a thread, and count it.

        Args:
            size: Bytes, or items that are not pickled.
        """
        self._few -= size
        return self._few >= 0

    def has_thread(self) -> bool:
        """Tell whether a call can be made elsewhere than here."""
        return self._threads > 0 or self._start_thread()

    def _begin(self, call: Call) -> Call:
        self._waiting.append(call)
        if self.has_thread():
            self._calls.put(call)
        elif call.can_wait:
            self._postponed += [call] * call.size
        else:
            now = time.monotonic()
            self._run_here(call, now + (self._deadline - now) / 2)
        return call

    def hold_back(self) -> None:
        """Let deliveries begin later, rather than take turns with what makes them."""
        self._held_back = []

    def begin_batch(self) -> None:
        """Begin with those held back so far, as there is something to be waited for."""
        if self._held_back:
            functions, self._held_back = self._held_back, []
            self._begin(Call(functions, "on_item", can_wait=True))

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
        self._help(last)

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
                self._help(last)
        return True

    def close(self) -> None:
        """Let the threads end when no call is left for them; there will be no more."""
        self._calls.put(None)

    def _help(self, call: Call) -> None:
        """Start another thread, for a call that a thread before it may have begun with."""
        self._calls.put(call)
        self._start_thread()

    def _start_thread(self) -> bool:
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:  # Python cannot start threads while it ends (3.12 and newer).
            return False
        self._threads += 1
        return True

    def _run(self) -> None:
        with _calling():
            while (call := self._next()) is not None:
                call.run()

    def _next(self) -> Call | None:
        while (call := self._calls.get()) is None:
            alone = self._calls.empty()
            self._calls.put(None)  # For the other threads, and behind what came after it.
            if alone:
                break
        return call

    def _run_here(self, call: Call, until: float) -> None:
        if is_left_to_main_thread():
            _handed_over.append(call)
            return
        with _calling(), _alarm_at(until):
            call.run_next()


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
            _handed_over.popleft().run_next()


class OverdueError(BaseException):
    """Raised into user code that runs in the main thread at the deadline."""


@contextlib.contextmanager
def _alarm_at(deadline: float) -> Iterator[None]:
    """Interrupt the main thread at `deadline`, where the system has an alarm clock."""
    if not _signals.in_main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def overdue(_signum: int, _frame: object) -> None:
        raise OverdueError

    previous = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous or signal.SIG_DFL)
