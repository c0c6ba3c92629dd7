"""The end of a process: the functions that Python runs then, and hooks before them."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.util
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import loaded
from .features import AVAILABLE, Feature
from .fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

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


class _AtExit(PerProcess):
    """Whether a finalizer stands in for atexit in this process."""

    has_finalizer: bool

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        self.has_finalizer = False


_at_exit = _AtExit()


def at_process_exit(callback: Callable[[], None]) -> None:
    """Call `callback` when this process ends by itself, also where atexit is not run.

    A child of multiprocessing up to Python 3.12 ends by `os._exit` after its finalizers.
    """
    atexit.unregister(callback)  # The last one registered is the first to run.
    atexit.register(callback)
    if (  # pragma: no cover - up to Python 3.12
        multiprocessing.parent_process() is not None
        and sys.version_info < (3, 13)
        and not _at_exit.has_finalizer
    ):
        _at_exit.has_finalizer = True
        _util.Finalize(None, callback, exitpriority=100)


def before_threads_are_joined(callback: Callable[[], None]) -> None:
    """Call `callback` when the main thread has ended, before Python waits for any other thread.

    The last function registered is the first to run: it comes before `concurrent.futures.process`
    waits for all the jobs of executors, if that has been imported before.
    """
    if Feature.JOINING in AVAILABLE:
        with contextlib.suppress(RuntimeError):  # The main thread has ended already.
            _threading._register_atexit(callback)


def is_waited_for() -> bool:
    """Tell whether Python waits at its exit for threads that are not those of executors."""
    managers = set(loaded.executors._threads_wakeups if loaded.executors else ())
    return any(
        not thread.daemon and thread not in managers
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    )
