"""Processes from inside: whose child is it, what runs in it first, what else must be ended."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.process
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from .features import AVAILABLE, Feature

if TYPE_CHECKING:
    from collections.abc import Callable

_util: Any = multiprocessing.util

# The time (seconds) that the resource tracker or the fork server may take to end.
STOPPED = 0.5


def is_child(process: Any) -> bool:
    """Tell whether this process is the one that may start, wait for and signal `process`."""
    if Feature.CHILDREN in AVAILABLE:
        return bool(process._parent_pid == os.getpid())
    try:
        process.is_alive()
    except (AssertionError, ValueError):
        return False
    return True


def run_exit_functions() -> None:
    """Run what atexit would run, before the process dies by a signal."""
    run = getattr(atexit, "_run_exitfuncs", None)
    if run is not None:
        run()


def at_process_exit(callback: Callable[[], None]) -> None:
    """Call `callback` when this process ends by itself, also where atexit is not run.

    A child of multiprocessing up to Python 3.12 ends by `os._exit` after its finalizers.
    """
    atexit.unregister(callback)  # The last one registered is the first to run.
    atexit.register(callback)
    global _finalizer_of  # noqa: PLW0603 - one for each process
    if (  # pragma: no cover - up to Python 3.12
        multiprocessing.parent_process() is not None
        and sys.version_info < (3, 13)
        and _finalizer_of != os.getpid()
    ):
        _finalizer_of = os.getpid()
        _util.Finalize(None, callback, exitpriority=100)


_finalizer_of: int | None = None


def remove_files() -> None:
    """Remove the sockets of listeners, and the temporary directory that holds most of them.

    Python does so at its exit, to which a process that a signal ends does not come. The fork
    server's socket is one of them, so it is stopped first.
    """
    if Feature.SEMAPHORES not in AVAILABLE or not _stop_in_time("forkserver"):
        return
    for finalizer in list(_util._finalizer_registry.values()):
        removes = finalizer._callback in (os.unlink, getattr(_util, "_remove_temp_dir", None))
        if removes and finalizer._pid == os.getpid():
            with contextlib.suppress(OSError):
                finalizer()


def _stop_in_time(name: str) -> bool:
    """Stop a helper process; tells whether none is left. Living children may keep it alive."""
    helper: Any = getattr(sys.modules.get(f"multiprocessing.{name}"), f"_{name}", None)
    if getattr(helper, "_forkserver_pid", helper) is None:  # It never ran.
        return True
    if not hasattr(helper, "_stop"):
        return False
    stopper = threading.Thread(target=helper._stop, daemon=True)
    try:
        stopper.start()
    except RuntimeError:  # At its exit Python starts no threads, and removes the files itself.
        return False
    stopper.join(STOPPED)
    return not stopper.is_alive()


def stop_helpers() -> None:
    """Stop the fork server and the resource tracker, so that an exec leaves no zombie of them."""
    for name in ("forkserver", "resource_tracker"):
        _stop_in_time(name)


def start_helpers(method: str | None) -> None:
    """Start the tracker, and the fork server if it is needed, before signals are blocked."""
    if sys.platform == "win32" or method == "fork":
        return
    multiprocessing.resource_tracker.ensure_running()
    if method == "forkserver":
        multiprocessing.forkserver.ensure_running()


class ContextProcess(multiprocessing.Process):
    """A `multiprocessing.Process` for any context, with a hook in the child before its code."""

    def __init__(self, *args: Any, ctx: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        method = ctx.get_start_method() if ctx is not None else None
        self._mpclean_method: str | None = method
        if method is not None and Feature.BOOTSTRAP in AVAILABLE:
            self._start_method = method

    @property
    def start_method(self) -> str:
        """The start method of this process."""
        return self._mpclean_method or multiprocessing.get_start_method()

    def _Popen(self, process_obj: Any) -> Any:  # type: ignore[override]  # noqa: N802 - CPython's
        method = self._mpclean_method
        context: Any = multiprocessing.get_context(method)
        base: Any = context.Process if method else super()
        return base._Popen(process_obj)

    def prepare_child(self, sentinel: Any, parent: int | None) -> Callable[[], None]:
        """Make the child ready for its code; returns what is to be called when that has ended.

        Args:
            sentinel: The handle that becomes ready when the parent is gone.
            parent: The pid of the parent.
        """
        raise NotImplementedError

    def _bootstrap(self, parent_sentinel: Any = None) -> int:
        end = self.prepare_child(parent_sentinel, getattr(self, "_parent_pid", None))
        base: Any = super()
        code: int = base._bootstrap(parent_sentinel)
        end()
        return code
