"""Signals in a worker: CTRL-C is for the server, and SIGTERM runs the worker's `finally` blocks."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.exit import run_exit_functions, when_work_is_over
from asgi_mpclean._cpython.fork import PerProcess
from asgi_mpclean._cpython.frames import waits_for_threads
from asgi_mpclean._cpython.main_thread import in_main_thread, keep_sending, send_soon
from asgi_mpclean._switch import DISABLED

from . import parent as _parent

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# A SIGTERM that cannot be obeyed when it comes is sent again after so many seconds: where Python
# has printed the exception rather than raised it, and where the worker is ending anyway.
AGAIN_AT_ONCE_SECONDS = 0.001
AGAIN_AT_END_SECONDS = 0.05


class _Worker(PerProcess):
    """Whether SIGTERM has come, and which handlers a worker has found when it began."""

    terminated: bool
    comes_again: bool
    found: dict[int, Any]

    def reset(self, *, forked: bool) -> None:
        self.terminated = self.comes_again = False
        if not forked:  # A child inherits the handlers.
            self.found = {}


_worker = _Worker()


class TerminatedError(SystemExit):
    """Raised in a worker by SIGTERM, so that its `finally` blocks run."""

    def __reduce__(self) -> Any:
        """Raise this again when it is pickled, so that it is not sent as the outcome of a job.

        A worker of a `ProcessPoolExecutor` catches all exceptions of a job, and would live on.
        """
        if threading.current_thread() is threading.main_thread():
            raise self
        return super().__reduce__()


def worker_init() -> None:
    """Prepare a worker of a pool: no traceback on CTRL-C, a clean end on SIGTERM.

    CTRL-C does nothing in the worker. SIGTERM raises SystemExit in its main thread, so that
    `finally` blocks run; the exit code is that of a process killed by SIGTERM. When the parent dies
    without a word, the worker gets a SIGTERM too, and half a second later a SIGKILL.

    For `Pool(initializer=worker_init)` and `ProcessPoolExecutor(initializer=worker_init)`; a
    `Process` of this library does the same by itself. In a thread, as in a `ThreadPool`, it does
    nothing: there signals are the business of the process.
    """
    if DISABLED or not in_main_thread():
        return
    _set_handlers()
    when_work_is_over(raise_no_more)
    parent = multiprocessing.parent_process()
    if parent is not None:
        _parent.end_with_parent(parent.sentinel, parent.pid)


def prepare_process(sentinel: Any, parent: int | None) -> None:
    """Prepare the child of a `Process`, which was born with SIGINT blocked.

    Args:
        sentinel: The handle that becomes ready when the parent is gone.
        parent: The pid of the parent.
    """
    _set_handlers()
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _parent.end_with_parent(sentinel, parent)


def _set_handlers() -> None:
    _worker.terminated = False
    _worker.found = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, _terminate),
    }
    if not isinstance(sys.unraisablehook, _SendAgain):
        sys.unraisablehook = _SendAgain(sys.unraisablehook)


def _terminate(signum: int, _frame: object) -> None:
    _worker.terminated = True
    signal.signal(signum, signal.SIG_IGN)  # A second one must not cut the `finally` blocks short.
    raise TerminatedError(128 + signum)


class _SendAgain:
    """Sends SIGTERM once more where Python only prints what is raised, as in a destructor.

    Args:
        hook: What prints anything else.
    """

    def __init__(self, hook: Callable[[Any], object]) -> None:
        self._hook = hook

    def __call__(self, unraisable: Any) -> None:
        """Do what `sys.unraisablehook` does, and send SIGTERM again if its exception was lost."""
        if unraisable.exc_type is not TerminatedError:
            self._hook(unraisable)
            return
        signal.signal(signal.SIGTERM, _terminate)
        send_soon(signal.SIGTERM, AGAIN_AT_ONCE_SECONDS)


def was_terminated() -> bool:
    """Tell whether SIGTERM has come to this worker."""
    return _worker.terminated


def raise_no_more() -> None:
    """Have SIGTERM end a worker whose work is over, without an exception.

    There are no `finally` blocks any more, and Python's own end would print what a handler raises.
    """
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, _terminate_at_end)


def _terminate_at_end(signum: int, frame: FrameType | None) -> None:
    if waits_for_threads(frame):
        _die_of_sigterm()
    # The worker is ending anyway: its queues are flushed, its finalizers run. No step of that is
    # to be interrupted or repeated. If it waits for threads afterwards, a SIGTERM that is sent
    # again ends it.
    _worker.comes_again = _worker.comes_again or keep_sending(signum, AGAIN_AT_END_SECONDS)


def end_process() -> None:
    """Die of SIGTERM at the end of a worker, if that has come."""
    if _worker.terminated and sys.platform != "win32":
        _die_of_sigterm()


def _die_of_sigterm() -> None:  # pragma: no cover - measuring ends with the exit functions
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    run_exit_functions()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # It may be closed, or None.
            stream.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def give_handlers_back() -> None:
    """Put back the handlers that the worker has found: the program after an exec inherits them."""
    if threading.current_thread() is threading.main_thread():
        for signum, handler in _worker.found.items():
            if handler is not None:  # Not installed by Python: it cannot be put back.
                signal.signal(signum, handler)
