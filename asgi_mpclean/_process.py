"""Worker processes that neither print a traceback on CTRL-C nor skip their `finally` on SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import _cpython

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._registry import Registry


class TerminatedError(SystemExit):
    """Raised in a worker by SIGTERM, so that its `finally` blocks run."""


class Process(_cpython.ContextProcess):
    """A `multiprocessing.Process` that is registered, and ends well.

    In the child CTRL-C is ignored, as the server decides when its workers end; SIGTERM raises
    SystemExit, so that `finally` blocks and finalizers run, and the exit code is that of a process
    killed by SIGTERM.

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

    def start(self) -> None:
        """Start the process.

        Raises:
            RuntimeError: While a clean-up is under way.
        """
        _default_registry().check_open()
        _cpython.start_helpers(self.start_method)
        with _sigint_blocked():
            super().start()

    def prepare_child(self) -> Callable[[], None]:
        """Set the signals of the child; what is returned ends it as SIGTERM would have."""
        worker_init()
        _unblock_sigint()
        return _die_of_sigterm_if_it_came


def worker_init() -> None:
    """Prepare a worker of a pool: no traceback on CTRL-C, a clean end on SIGTERM.

    For `Pool(initializer=worker_init)` and `ProcessPoolExecutor(initializer=worker_init)`.
    """
    global _terminated  # noqa: PLW0603 - one process, one end
    _terminated = False
    _found.clear()
    _found[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    _found[signal.SIGTERM] = signal.signal(signal.SIGTERM, _terminate)


_terminated = False
_found: dict[int, Any] = {}


def _terminate(signum: int, _frame: object) -> None:
    global _terminated  # noqa: PLW0603 - one process, one end
    _terminated = True
    signal.signal(signum, signal.SIG_IGN)  # A second one must not cut the `finally` blocks short.
    raise TerminatedError(128 + signum)


def _die_of_sigterm_if_it_came() -> None:
    if not _terminated or sys.platform == "win32":
        return
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
