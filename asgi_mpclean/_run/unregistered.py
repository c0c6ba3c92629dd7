"""What `register` and a wrapped app switch on, for a program that does neither."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asgi_mpclean._cpython.main_thread import in_main_thread
from asgi_mpclean._exec.exec import guard_exec
from asgi_mpclean._shutdown import state
from asgi_mpclean._shutdown.signals import guard
from asgi_mpclean._shutdown.state import STATE, Policy
from asgi_mpclean._shutdown.triggers import clean_at_exit, clean_at_signal

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("asgi_mpclean")


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
    guard_again()
    guard_exec()


def guard_if_needed() -> None:
    """Guard them if that has not been done, or has come to an end."""
    if STATE.guard is None:
        guard_again()


def guard_again() -> None:
    """Guard the signals that would kill, those included whose default was put back."""
    if not state.DISABLED and in_main_thread():
        guard.guard_again(clean_at_signal)
