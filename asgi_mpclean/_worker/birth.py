"""The moment of a worker's birth, in its parent: SIGINT is blocked, so that CTRL-C finds no gap."""

from __future__ import annotations

import contextlib
import signal
import threading

from asgi_mpclean._cpython.fork import PerProcess

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Iterator


class _Births(PerProcess):
    """The signals that were blocked before, by the thread that starts a process."""

    masks: dict[int, set[int]]

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        self.masks = {}


_births = _Births()


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """Let a child be born with SIGINT blocked: a CTRL-C before its first line finds no gap."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    masks, ident = _births.masks, threading.get_ident()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    masks[ident] = previous
    try:
        yield
    finally:
        masks.pop(ident, None)
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def give_mask_back() -> None:
    """Block no more than before the birth: the program after an exec would inherit it."""
    mask = _births.masks.get(threading.get_ident())
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
