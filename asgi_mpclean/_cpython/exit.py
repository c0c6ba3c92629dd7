"""The end of a process: the functions that Python runs then, and hooks before them."""

from __future__ import annotations

import atexit
import contextlib
import logging  # Before `multiprocessing.util`, so that what is logged at the very end arrives.
import multiprocessing
import multiprocessing.util
import sys
import threading
from typing import TYPE_CHECKING, Any

from .features import AVAILABLE, Feature
from .fork import PerProcess
from .loaded import find
from .relatives import DILL

if TYPE_CHECKING:
    from collections.abc import Callable

logging.raiseExceptions  # noqa: B018 - imported for the order of its exit function
_atexit: Any = atexit
_threading: Any = threading
_util: Any = multiprocessing.util


# `pragma: no cover`, as coverage stops measuring in one of these functions.
def run_exit_functions() -> None:
    """Run what Python would run at the end of this process, before that dies by a signal."""
    if Feature.EXIT not in AVAILABLE:
        return
    if sys.version_info >= (3, 13):  # pragma: no cover
        _run_registered()
        _run_finalizers()
    else:  # pragma: no cover
        _run_finalizers()
        # A child by fork, or of the fork server, has inherited these, and does not run them.
        if multiprocessing.parent_process() is None or _start_method() == "spawn":
            _run_registered()


def _run_registered() -> None:  # pragma: no cover
    _atexit._run_exitfuncs()


def _run_finalizers() -> None:  # pragma: no cover
    # By hand, as `_exit_function` does nothing when a signal has interrupted it and it runs again.
    _util._run_finalizers()
    for child in multiprocessing.active_children():
        if child.daemon:
            child.terminate()


def _start_method() -> str:  # pragma: no cover
    process: Any = multiprocessing.current_process()
    method: str | None = getattr(process, "_start_method", None)
    return method or multiprocessing.get_start_method()


def when_work_is_over(callback: Callable[[], None]) -> None:
    """Call `callback`, once or more, after the code of this child, before Python's own end of it.

    Args:
        callback: What to call, in the main thread.
    """
    if sys.version_info >= (3, 13):
        before_threads_are_joined(callback)
        atexit.register(callback)
    else:  # pragma: no cover - up to Python 3.12
        _util.Finalize(None, callback, exitpriority=sys.maxsize)


# Before every finalizer of multiprocessing itself, which ends pools, managers and feeders.
FIRST_OF_FINALIZERS = 1000


class _AtExit(PerProcess):
    """What is to be called at the end of this process, and what will call it."""

    callback: Callable[[], None] | None
    finalizer: Any

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        self.callback = self.finalizer = None

    def is_kept(self, callback: Callable[[], None]) -> bool:
        """Tell whether `callback` will be called already."""
        if self.callback is not callback:
            return False
        return self.finalizer is None or bool(self.finalizer.still_active())


_at_exit = _AtExit()


def at_process_exit(callback: Callable[[], None]) -> None:
    """Call `callback` when this process ends by itself, before multiprocessing ends it.

    That is at the beginning of the exit function of multiprocessing, which has been registered when
    that was imported: the functions that an app has registered since come before it, and find what
    they use. A child of multiprocessing calls it as well, where it does not run those of atexit.
    """
    if _at_exit.is_kept(callback):
        return
    _at_exit.callback = callback
    if Feature.FINALIZERS in AVAILABLE:
        _at_exit.finalizer = _util.Finalize(None, callback, exitpriority=FIRST_OF_FINALIZERS)
    else:
        _at_exit.finalizer = None
        atexit.register(callback)


def before_dill_exits(callback: Callable[[], None]) -> None:
    """Call `callback` when `multiprocess` begins to end what was made with it, if it is loaded.

    It has an exit function of its own, which comes before that of multiprocessing, as a rule.
    """
    util: Any = find(f"{DILL}.util")
    if util is not None and Feature.FINALIZERS in AVAILABLE:
        util.Finalize(None, callback, exitpriority=FIRST_OF_FINALIZERS)


def before_threads_are_joined(callback: Callable[[], None]) -> None:
    """Call `callback` when the main thread has ended, before Python waits for any other thread.

    The last function registered is the first to run: it comes before `concurrent.futures.process`
    waits for all the jobs of executors, if that has been imported before.
    """
    if Feature.JOINING in AVAILABLE:
        with contextlib.suppress(RuntimeError):  # The main thread has ended already.
            _threading._register_atexit(callback)
