"""Processes from inside: whose child is it, what runs in it first, what else must be ended."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.process
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import sys
from typing import TYPE_CHECKING, Any

from .features import AVAILABLE, Feature

if TYPE_CHECKING:
    from collections.abc import Callable

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


def pools_and_managers() -> list[tuple[str, Callable[[], None]]]:
    """Return the kind of each live `Pool` and `Manager` made here, and what ends it."""
    if Feature.SEMAPHORES not in AVAILABLE:
        return []
    found: list[tuple[str, Callable[[], None]]] = []
    for finalizer in list(_util._finalizer_registry.values()):
        name = getattr(finalizer._callback, "__name__", "")
        if finalizer._pid != os.getpid():
            continue
        if name == "_terminate_pool" and (pool := finalizer._weakref()) is not None:
            found.append(("Pool", pool.terminate))
        elif name == "_finalize_manager":
            found.append(("Manager", finalizer))
    return found


def live_executors() -> list[Any]:
    """Return the `ProcessPoolExecutor`s of this process that still have their manager thread."""
    module = sys.modules.get("concurrent.futures.process")
    threads = list(getattr(module, "_threads_wakeups", ()))
    executors = [getattr(thread, "executor_reference", lambda: None)() for thread in threads]
    return [executor for executor in executors if executor is not None]


def executor_pids(executor: Any) -> list[int]:
    """Return the pids of the workers of a `ProcessPoolExecutor`."""
    return list(getattr(executor, "_processes", None) or ())


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


def stop_helpers() -> None:
    """Stop the resource tracker and the fork server, so that an exec leaves no zombie of them."""
    for module, name in (("forkserver", "_forkserver"), ("resource_tracker", "_resource_tracker")):
        server: Any = getattr(sys.modules.get(f"multiprocessing.{module}"), name, None)
        if hasattr(server, "_stop"):
            server._stop()


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

    def prepare_child(self) -> Callable[[], None]:
        """Make the child ready for its code; returns what is to be called when that has ended."""
        raise NotImplementedError

    def _bootstrap(self, *args: Any, **kwargs: Any) -> int:
        end = self.prepare_child()
        base: Any = super()
        code: int = base._bootstrap(*args, **kwargs)
        end()
        return code
