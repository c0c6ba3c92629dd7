"""The moment of a worker's birth, in its parent: SIGINT is blocked, so that CTRL-C finds no gap.

Windows has nothing to block a CTRL-C with. There this process ignores it while the child is
created, which inherits that for its life. What this cannot do: keep a CTRL-C for later that comes
in those milliseconds, so that they last no longer than they must.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading

from asgi_mpclean._cpython.fork import PerProcess

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Iterator


class _Births(PerProcess):
    """The signals that were blocked before, by the thread that starts a process.

    On Windows, the threads that have CTRL-C ignored.
    """

    masks: dict[int, set[int]]
    ignoring: set[int]

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        self.masks = {}
        self.ignoring = set()


_births = _Births()


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """Let a child be born with SIGINT blocked: a CTRL-C before its first line finds no gap."""
    if sys.platform == "win32":
        _ignore_ctrl_c()
        try:
            yield
        finally:
            heed_ctrl_c()
        return
    masks, ident = _births.masks, threading.get_ident()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    masks[ident] = previous
    try:
        yield
    finally:
        masks.pop(ident, None)
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _ignore_ctrl_c() -> None:
    from asgi_mpclean._cpython import windows  # noqa: PLC0415 - not needed in a worker

    if _births.ignoring or windows.ignore_ctrl_c():
        _births.ignoring.add(threading.get_ident())


def heed_ctrl_c() -> None:
    """Heed CTRL-C as before, on Windows: the child of this thread exists, or never will."""
    if threading.get_ident() not in _births.ignoring:
        return
    from asgi_mpclean._cpython import windows  # noqa: PLC0415 - not needed in a worker

    _births.ignoring.discard(threading.get_ident())
    if not _births.ignoring:
        windows.heed_ctrl_c()


def give_mask_back() -> None:
    """Block no more than before the birth: the program after an exec would inherit it."""
    mask = _births.masks.get(threading.get_ident())
    if mask is not None and sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
