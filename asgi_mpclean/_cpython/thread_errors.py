"""Threads of the app that end because a clean-up has ended what they use: without a traceback.

A thread may give jobs to a pool, call a manager or write to a worker until the process is over.
Killed by a signal without us, it would never learn that anything has ended.
"""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing.connection
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from .fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

logger = logging.getLogger("asgi_mpclean")

# How long (seconds) after a clean-up a thread may need to notice it, where the program goes on.
NOTICE_SECONDS = 5.0
_CONNECTIONS = multiprocessing.connection.__file__
_FOLDERS = tuple(
    os.path.dirname(file) + os.sep for file in (_CONNECTIONS, concurrent.futures._base.__file__)
)
# What a connection raises that is closed, or whose peer is gone.
_GONE = (EOFError, OSError)
# What becomes of jobs; all else that a result raises is the job's own.
_UNDONE = (concurrent.futures.CancelledError, concurrent.futures.BrokenExecutor)
# The functions that refuse jobs.
_REFUSING = frozenset({"submit", "_check_running"})


class _Expected(PerProcess):
    """Until when (`time.monotonic()`) such an end is expected, and of whom in any case."""

    until: float
    threads: weakref.WeakSet[threading.Thread]

    def reset(self, *, forked: bool) -> None:
        """Expect nothing: a child by fork has no part in the clean-up."""
        if forked and isinstance(threading.excepthook, _Hook):
            threading.excepthook = threading.excepthook.found
        self.until = 0.0
        self.threads = weakref.WeakSet()


class _Hook:
    """Takes the place of `threading.excepthook`.

    Args:
        found: What was there. Another program may put its own around this one, so that each knows
            what it has found itself.
    """

    def __init__(self, found: Callable[[Any], object]) -> None:
        self.found = found

    def __call__(self, args: Any) -> None:
        if args.thread in _expected.threads and _is_of_clean_up(args):
            return
        if time.monotonic() >= _expected.until or not _is_of_clean_up(args):
            self.found(args)
        elif _expected.until < float("inf"):
            what = "%s has ended, as what it used was cleaned up: %r"
            logger.warning(what, getattr(args.thread, "name", "a thread"), args.exc_value)


_expected = _Expected()


def expect_thread_errors(*, going_away: bool) -> None:
    """Have threads of the app end without a traceback that use what is being cleaned up.

    Args:
        going_away: The process ends next; otherwise each of them is told of in one line.
    """
    _install()
    _expected.until = float("inf") if going_away else time.monotonic() + NOTICE_SECONDS


def expect_end_of(thread: threading.Thread) -> None:
    """Have a thread end without a word once what it uses is closed."""
    _install()
    _expected.threads.add(thread)


def _install() -> None:
    if not isinstance(threading.excepthook, _Hook):
        threading.excepthook = _Hook(threading.excepthook)


def _is_of_clean_up(args: Any) -> bool:
    """Tell whether an exception says that something of multiprocessing has ended."""
    innermost: TracebackType | None = args.exc_traceback
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return False
    code = innermost.tb_frame.f_code
    if code.co_filename == _CONNECTIONS:
        return issubclass(args.exc_type, _GONE)
    if not code.co_filename.startswith(_FOLDERS):
        return False
    return issubclass(args.exc_type, _UNDONE) or code.co_name in _REFUSING
