"""A handle on a process that cannot become another's, as a number does once it has been reaped."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.children import is_reaped_by_fork_server

if TYPE_CHECKING:
    from collections.abc import Iterator

_os: Any = os
_signal: Any = signal

KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)  # On Windows they are the same.


class Handle:
    """A process, by a handle of Linux; by its number where there is none.

    Args:
        pid: Its number.

    Raises:
        ProcessLookupError: If there is no such process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fd: int | None = None
        if hasattr(os, "pidfd_open"):
            try:
                self._fd = _os.pidfd_open(pid)
            except ProcessLookupError:
                raise
            except OSError:  # An old kernel, a sandbox, or too many files.
                pass

    def send(self, signum: int) -> None:
        """Send a signal.

        Raises:
            OSError: If it has ended, or is somebody else's.
        """
        if self._fd is None:
            os.kill(self._pid, signum)
        else:
            _signal.pidfd_send_signal(self._fd, signum)

    def close(self) -> None:
        """Let go of it."""
        if self._fd is not None:
            os.close(self._fd)


@contextlib.contextmanager
def opened(pid: int) -> Iterator[Handle]:
    """Open a handle. Whose it is has to be asked while it is open, before a signal is sent."""
    handle = Handle(pid)
    try:
        yield handle
    finally:
        handle.close()


def send(process: Any, signum: int) -> None:
    """Send a signal to a worker of ours, or to nobody if it is not there any more.

    Args:
        process: A `multiprocessing.Process` that was started here.
        signum: On Windows any, as there is but one way to end a process.
    """
    with contextlib.suppress(OSError, ValueError):
        if sys.platform == "win32":  # By a handle of its own.
            process.terminate()
            return
        with opened(process.pid) as handle:
            if is_there(process):
                handle.send(signum)


def is_there(process: Any) -> bool:
    """Tell whether the number of a worker is still its own: it lives, or nobody has reaped it yet.

    Its sentinel alone is no proof, as a child by fork of the worker keeps that from becoming ready;
    nor is a child of ours that has the number, as that may be another one by now.

    Args:
        process: A `multiprocessing.Process` that was started here.
    """
    try:
        # Of a child of the fork server the sentinel is ready only until this has been asked.
        if process.exitcode is not None:
            return False
        sentinel = process.sentinel
    except ValueError:  # The process object has been closed, which only one that has ended can be.
        return False
    # Somebody may have closed the descriptor behind our back: then it tells nothing.
    with contextlib.suppress(OSError, ValueError):
        if multiprocessing.connection.wait([sentinel], 0):
            return False
    # The fork server reaps its children, and makes their sentinels ready then.
    return is_reaped_by_fork_server(process) or not _was_reaped(process.pid)


def _was_reaped(pid: int) -> bool:
    """Tell whether a process is no child of ours any more, where the system can say so."""
    if hasattr(os, "waitid"):
        try:
            _os.waitid(_os.P_PID, pid, _os.WEXITED | _os.WNOHANG | _os.WNOWAIT)
        except ChildProcessError:
            return True
    return False
