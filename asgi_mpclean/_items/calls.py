"""One call of the user's code, and the threads that are making one."""

from __future__ import annotations

import _thread
import collections
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.fork import GENERATION, PerProcess
from asgi_mpclean._cpython.main_thread import in_main_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

logger = logging.getLogger("asgi_mpclean")


def _load_for_tracebacks() -> None:
    """Format a traceback now: the first one imports modules, which may fail in a clean-up."""
    try:
        len(os.environ[""])
    except KeyError:
        logging.Formatter().formatException(sys.exc_info())


_load_for_tracebacks()


class _Calling(PerProcess):
    """The threads of this process that are in the user's code, and the calls left for another."""

    threads: set[int]
    # The calls of a clean-up that a daemon thread had begun before Python came to its end.
    handed_over: collections.deque[Call]

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        self.threads = set()
        self.handed_over = collections.deque()


class _Alarm(PerProcess):
    """Whether the main thread has an alarm, and which handler that has replaced."""

    is_set: bool
    found: Any

    def reset(self, *, forked: bool) -> None:
        # The alarm clock is not inherited by a fork, but its handler is.
        if forked and self.is_set and sys.platform != "win32":
            signal.signal(signal.SIGALRM, self.found)
        self.is_set, self.found = False, None


class Call:
    """One call of user code, or several that are waited for together.

    Args:
        functions: What is called, one after the other.
        what: Its name in the log.
        deferrable: Where there are no threads, call it only when everything else is done.
    """

    def __init__(
        self, functions: Sequence[Callable[[], object]], what: str, *, deferrable: bool
    ) -> None:
        self.size = len(functions)
        self.deferrable = deferrable
        self.made = time.monotonic()
        self._functions = collections.deque(functions)
        self._what = what
        self._generation = GENERATION.count
        self._pending = _thread.allocate_lock()
        self._pending.acquire()
        # Each function takes one at its end, in one step; the one that takes the last ends last.
        # `list.pop` is one step without a GIL as well: see `gil`.
        self._unended = [n == 0 for n in range(self.size)]

    @property
    def started(self) -> bool:
        """Whether the last function has begun."""
        return not self._functions

    def run(self) -> None:
        """Call the functions that nobody has begun; several threads may, where one is stuck."""
        while self._functions:
            self.run_next()

    def run_next(self) -> None:
        """Call the next function; what it raises is logged."""
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
            if self._generation != GENERATION.count:
                os._exit(0)  # The callback has forked: in the child, the clean-up is not to go on.
            if self._unended.pop():
                self._pending.release()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for the end of the call; tells whether it has ended."""
        if self._pending.acquire(timeout=max(seconds, 0.0)):
            self._pending.release()
            return True
        return False


_calling = _Calling()
_alarm = _Alarm()


@contextlib.contextmanager
def calling() -> Iterator[None]:
    """Note that this thread is in the user's code."""
    _calling.threads.add(_thread.get_ident())
    try:
        yield
    finally:
        _calling.threads.discard(_thread.get_ident())


def in_callback() -> bool:
    """Tell whether the calling code runs inside a callback of a clean-up."""
    return _thread.get_ident() in _calling.threads


def is_left_to_main_thread() -> bool:
    """Tell whether Python is ending, and this is a daemon thread.

    Such a thread could neither interrupt a callback nor leave it to another thread. The main thread
    can interrupt it by an alarm, and cleans up in its place.
    """
    if in_main_thread():
        return False
    return threading.current_thread().daemon and not threading.main_thread().is_alive()


def run_here(call: Call, until: float) -> None:
    """Call the next function of `call` in this thread; the main one is interrupted at `until`.

    A daemon thread leaves it to the main thread when Python is ending.
    """
    if is_left_to_main_thread():
        _calling.handed_over.append(call)
        return
    with calling(), _alarm_at(until):
        call.run_next()


def run_handed_over(until: float) -> None:
    """Make the calls left by a daemon thread in the main thread, which waits for its clean-up."""
    while _calling.handed_over:
        with calling(), _alarm_at(until):
            _calling.handed_over.popleft().run_next()


class OverdueError(BaseException):
    """Raised into user code that runs in the main thread at the deadline."""


@contextlib.contextmanager
def _alarm_at(deadline: float) -> Iterator[None]:
    """Interrupt the main thread at `deadline`, where the system has an alarm clock."""
    if sys.platform == "win32" or not in_main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def overdue(_signum: int, _frame: object) -> None:
        raise OverdueError

    found = signal.getsignal(signal.SIGALRM)
    _alarm.found = signal.SIG_DFL if found is None else found
    _alarm.is_set = True
    signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if _alarm.is_set:  # Not in a child that the callback has forked.
            _alarm.is_set = False
            signal.signal(signal.SIGALRM, _alarm.found)
