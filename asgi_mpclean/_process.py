"""Worker processes that neither print a traceback on CTRL-C nor skip their `finally` on SIGTERM."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from . import _cpython, _descendants, _signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from ._registry import Registry


# A SIGTERM that comes when it cannot be obeyed comes again after so many seconds: where Python has
# printed the exception rather than raised it, and where a worker is ending anyway.
AT_ONCE = 0.001
AT_END = 0.05


class TerminatedError(SystemExit):
    """Raised in a worker by SIGTERM, so that its `finally` blocks run."""

    def __reduce__(self) -> Any:
        """Be raised once more, rather than be sent to the parent as the outcome of a job.

        A worker of a `ProcessPoolExecutor` catches all that a job raises, and would live on.
        """
        if threading.current_thread() is threading.main_thread():
            raise self
        return super().__reduce__()


class Process(_cpython.ContextProcess):
    """A `multiprocessing.Process` that is registered, and ends well.

    In the child CTRL-C is ignored, as the server decides when its workers end; SIGTERM raises
    SystemExit, so that `finally` blocks and finalizers run, and the exit code is that of a process
    killed by SIGTERM. When the parent dies without a word, the child gets a SIGTERM too, and half
    a second later a SIGKILL.

    Args:
        args: As `multiprocessing.Process` takes them.
        ctx: The context to start the process in, such as `multiprocessing.get_context("spawn")`;
            by default the default context.
        stop: Asks the worker to end, before signals are used.
        registry: Where it is registered; by default the default registry.
        kwargs: As `multiprocessing.Process` takes them.

    Raises:
        TypeError: If `ctx` is not a context, or `stop` not callable.
        RuntimeError: While a clean-up is under way.
    """

    def __init__(
        self,
        *args: Any,
        ctx: Any = None,
        stop: Callable[[], object] | None = None,
        registry: Registry | None = None,
        **kwargs: Any,
    ) -> None:
        if ctx is not None and not hasattr(ctx, "get_start_method"):
            msg = f"ctx must be a multiprocessing context, not {ctx!r}"
            raise TypeError(msg)
        super().__init__(*args, ctx=ctx, **kwargs)
        registry = registry or _default_registry()
        registry.check_open()
        registry.register(self, stop=stop)
        _registries[self] = weakref.ref(registry)

    def start(self) -> None:
        """Start the process.

        Raises:
            RuntimeError: While a clean-up is under way.
        """
        if registry := _registries[self]():
            registry.check_open()
        _cpython.start_helpers(self.start_method)
        with _sigint_blocked():
            super().start()

    def prepare_child(self, sentinel: Any, parent: int | None) -> None:
        """Set the signals of the child."""
        _set_signals()
        _unblock_sigint()
        _descendants.end_with_parent(sentinel, parent)

    def end_work(self) -> None:
        """Have SIGTERM raise nothing any more."""
        _raise_no_more()

    def end_child(self) -> None:
        """Have the exit code of SIGTERM, if it came."""
        if _terminated and sys.platform != "win32":
            _die_of_sigterm()


# Kept apart from the processes, which are pickled.
_registries: weakref.WeakKeyDictionary[Process, weakref.ref[Registry]] = weakref.WeakKeyDictionary()


def worker_init() -> None:
    """Prepare a worker of a pool: no traceback on CTRL-C, a clean end on SIGTERM.

    It also ends by itself when its parent dies. For `Pool(initializer=worker_init)` and
    `ProcessPoolExecutor(initializer=worker_init)`.
    """
    _set_signals()
    _cpython.when_work_is_over(_raise_no_more)
    parent = multiprocessing.parent_process()
    if parent is not None:
        _descendants.end_with_parent(parent.sentinel, parent.pid)


def _set_signals() -> None:
    global _terminated  # noqa: PLW0603 - one process, one end
    _terminated = False
    _found.clear()
    _found[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    _found[signal.SIGTERM] = signal.signal(signal.SIGTERM, _terminate)
    if not isinstance(sys.unraisablehook, _SendAgain):
        sys.unraisablehook = _SendAgain(sys.unraisablehook)


_terminated = False
_found: dict[int, Any] = {}


def _terminate(signum: int, _frame: object) -> None:
    global _terminated  # noqa: PLW0603 - one process, one end
    _terminated = True
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
        """Be `sys.unraisablehook`."""
        if unraisable.exc_type is not TerminatedError:
            self._hook(unraisable)
            return
        signal.signal(signal.SIGTERM, _terminate)
        _signals.send_soon(signal.SIGTERM, AT_ONCE)


def _raise_no_more() -> None:
    """Have SIGTERM end a worker whose work is over, without an exception.

    There are no `finally` blocks any more, and Python's own end would print what a handler raises.
    """
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, _terminate_at_end)


def _terminate_at_end(signum: int, frame: FrameType | None) -> None:
    if _cpython.waits_for_threads(frame):
        _die_of_sigterm()
    # Otherwise it does what SIGTERM would have it do: queues are flushed, finalizers run. No step
    # is to be cut short, or to be run twice; if it waits for threads after that, it is caught then.
    _signals.send_soon(signum, AT_END)


def _die_of_sigterm() -> None:  # pragma: no cover - measuring ends with the exit functions
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _cpython.run_exit_functions()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # It may be closed, or None.
            stream.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Let the child be born with SIGINT blocked: a CTRL-C before its first line finds no gap."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    _masks[threading.get_ident()] = previous
    try:
        yield
    finally:
        del _masks[threading.get_ident()]
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


_masks: dict[int, set[int]] = {}  # by the thread that starts a process


def give_signals_back() -> None:
    """Ignore and block no more than before: the program after an exec would inherit it."""
    if threading.current_thread() is threading.main_thread():
        for signum, handler in _found.items():
            if handler is not None:  # Not Python's, and so not to be put back.
                signal.signal(signum, handler)
    mask = _masks.get(threading.get_ident())
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _unblock_sigint() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _default_registry() -> Registry:
    from ._registry import default_registry  # noqa: PLC0415 - the registry knows Process

    return default_registry
