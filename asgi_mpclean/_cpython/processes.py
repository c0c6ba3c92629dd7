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
import time
from typing import TYPE_CHECKING, Any, TypeVar

from .features import AVAILABLE, Feature

if TYPE_CHECKING:
    from collections.abc import Callable

_Owner = TypeVar("_Owner")
_atexit: Any = atexit
_process: Any = multiprocessing.process
_threading: Any = threading
_util: Any = multiprocessing.util


def is_child(process: Any) -> bool:
    """Tell whether this process is the one that may start, wait for and signal `process`."""
    if Feature.CHILDREN in AVAILABLE:
        return bool(process._parent_pid == os.getpid())
    try:
        process.is_alive()
    except (AssertionError, ValueError):
        return False
    return True


def ended_children() -> list[Any]:
    """Return the children that `multiprocessing.active_children` is going to forget now."""
    if Feature.CHILDREN not in AVAILABLE:
        return []
    children: set[Any] = _process._children
    return [child for child in children.copy() if child.exitcode is not None]


# Measuring coverage is over when these have run.
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
    # By hand: what a signal has cut short, `_exit_function` does not take up again.
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


def when_forked(owner: _Owner, callback: Callable[[_Owner], object]) -> None:
    """Call `callback` with `owner` in each worker by fork, before its code; where that is known.

    Args:
        owner: Referred to weakly.
        callback: What to call.
    """
    if Feature.FORKED_WORKERS in AVAILABLE:
        _util.register_after_fork(owner, callback)


def before_threads_are_joined(callback: Callable[[], None]) -> None:
    """Call `callback` when the main thread has ended, before Python waits for any other.

    To be called after the import of `concurrent.futures.process`, which waits there for all the
    jobs of executors: the last one registered is the first to run.
    """
    if Feature.JOINING in AVAILABLE:
        with contextlib.suppress(RuntimeError):  # The main thread has ended already.
            _threading._register_atexit(callback)


def remove_files(timeout: float) -> None:
    """Remove the sockets of listeners, and the temporary directory that holds most of them.

    Python does so at its exit, to which a process that a signal ends does not come. One of them is
    the fork server's, which is ended first; if somebody keeps that alive, nothing is removed. Takes
    no lock and starts no thread: it may be called in a signal handler, and at the exit of the
    interpreter. A forked child or a worker only lets go of the server of its parent.

    Args:
        timeout: Seconds to wait for the fork server.
    """
    if Feature.HELPERS not in AVAILABLE:
        return
    server: Any = multiprocessing.forkserver._forkserver
    if not _stop_helper(server, "_forkserver_alive_fd", "_forkserver_pid", timeout):
        return
    for finalizer in list(_util._finalizer_registry.values()):
        if finalizer._callback in (os.unlink, _util._remove_temp_dir):
            with contextlib.suppress(OSError):
                finalizer()


def stop_helpers(timeout: float) -> None:
    """End the fork server and the resource tracker, as children of the next program otherwise.

    Args:
        timeout: Seconds to wait for each of them; somebody may keep it alive.
    """
    remove_files(timeout)
    if Feature.HELPERS in AVAILABLE and sys.platform != "win32":
        tracker: Any = multiprocessing.resource_tracker._resource_tracker
        _stop_helper(tracker, "_fd", "_pid", timeout)


def _stop_helper(helper: Any, fd_name: str, pid_name: str, timeout: float) -> bool:
    """Close the pipe that keeps a helper alive, and reap it; tells whether it has ended."""
    fd, pid = getattr(helper, fd_name), getattr(helper, pid_name)
    if fd is None or pid is None:
        return True
    setattr(helper, fd_name, None)
    setattr(helper, pid_name, None)
    until = time.monotonic() + timeout
    with contextlib.suppress(OSError):  # It is closed, or the child of our parent.
        os.close(fd)
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() >= until:
                return False
            time.sleep(0.001)
    return True


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

    def prepare_child(self, sentinel: Any, parent: int | None) -> None:
        """Make the child ready for its code.

        Args:
            sentinel: The handle that becomes ready when the parent is gone.
            parent: The pid of the parent.
        """
        raise NotImplementedError

    def end_work(self) -> None:
        """Do what is to be done after the child's code, before Python's own end of it."""
        raise NotImplementedError

    def end_child(self) -> None:
        """Do what is to be done after the child's finalizers and threads."""
        raise NotImplementedError

    def _bootstrap(self, parent_sentinel: Any = None) -> int:
        self.prepare_child(parent_sentinel, getattr(self, "_parent_pid", None))
        run: Any = self.run
        base: Any = super()

        def run_and_end() -> None:
            try:
                run()
            finally:
                self.end_work()

        self.run = run_and_end  # type: ignore[method-assign]
        code: int = base._bootstrap(parent_sentinel)
        self.end_child()
        return code
