"""What `register` and a wrapped app switch on, for a program that does neither."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.memory import is_tracked, made_shared_memory
from asgi_mpclean._exec.exec import guard_exec
from asgi_mpclean._registry.registry import Registry
from asgi_mpclean._shutdown import state
from asgi_mpclean._shutdown.discovery import find_unregistered
from asgi_mpclean._shutdown.signals import guard
from asgi_mpclean._shutdown.state import STATE, Policy
from asgi_mpclean._shutdown.triggers import clean_at_exit, clean_at_signal

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("asgi_mpclean")

_memory = Registry()


class _AsServing(Policy):
    """How to clean up: where a server serves as for a wrapped app, else as for a script.

    A script is left to Python at its exit, which waits for its workers.

    Args:
        is_serving: Tells whether a server serves in this process.
    """

    def __init__(self, is_serving: Callable[[], bool]) -> None:
        self._is_serving = is_serving
        super().__init__()

    @property
    def serving(self) -> bool:
        """Whether a server serves now."""
        return self._is_serving()

    @serving.setter
    def serving(self, _value: bool) -> None:
        """Be what it is."""

    discover_at_exit = serving


def begin(is_serving: Callable[[], bool]) -> None:
    """Have this process end clean, which makes something and registers nothing.

    Args:
        is_serving: Tells whether an ASGI server serves in it.
    """
    if state.DISABLED:
        return
    if not STATE.policy.chosen:  # The app may use the library itself.
        STATE.policy = _AsServing(is_serving)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)  # What the program prints stays its own.
    clean_at_exit()
    guard_exec()
    guard.guard(clean_at_signal)


def guard_if_needed() -> None:
    """Guard the signals that would kill if that has not been done, or has come to an end."""
    if not state.DISABLED and STATE.guard is None:
        guard.guard(clean_at_signal)


def guard_again() -> None:
    """Guard also those whose default has been put back since."""
    if not state.DISABLED:
        guard.guard_again(clean_at_signal)


def register_memory(block: Any) -> None:
    """Have a block of shared memory unlinked when the process ends.

    It is the one thing that Python keeps no list of. At an exit Python itself would unlink it, and
    warn; one that is not tracked is meant to stay.

    Args:
        block: What was just made, or attached to.
    """
    if not _memory.is_shutting_down and made_shared_memory(block) and is_tracked(block):
        _memory.register(block)


def keep_until_exit() -> None:
    """Keep what the app will let go of when a server shuts it down.

    Without a reference the items of a queue can be neither read nor counted any more.
    """
    if not state.DISABLED:
        STATE.kept[:] = find_unregistered()
