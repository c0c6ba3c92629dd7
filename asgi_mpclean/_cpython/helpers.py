"""The helper processes of multiprocessing: the resource tracker and the fork server."""

from __future__ import annotations

import contextlib
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import sys
import time
from typing import Any

from . import loaded
from .features import AVAILABLE, Feature

_util: Any = multiprocessing.util


def remove_files(timeout: float) -> None:
    """Remove the sockets of listeners, and the temporary directory that holds most of them.

    Python does so at its exit, which a process that dies by a signal never reaches. One socket is
    that of the fork server, which is ended first; if another process keeps that alive, nothing is
    removed. This takes no lock and starts no thread, so that it may be called in a signal handler
    and at the exit of the interpreter. A forked child or a worker only lets go of the server of its
    parent.

    Args:
        timeout: Seconds to wait for the fork server.
    """
    if Feature.HELPERS not in AVAILABLE or not _stop_fork_server(timeout):
        return
    for finalizer in list(_util._finalizer_registry.values()):
        if finalizer._callback in (os.unlink, _util._remove_temp_dir):
            with contextlib.suppress(OSError):
                finalizer()


def _stop_fork_server(timeout: float) -> bool:
    if not loaded.forkserver or Feature.FORK_SERVER not in AVAILABLE:
        return True
    server: Any = loaded.forkserver._forkserver
    return _stop_helper(server, "_forkserver_alive_fd", "_forkserver_pid", timeout)


def stop_helpers(timeout: float) -> None:
    """End the fork server and the resource tracker, or the next program inherits them.

    Args:
        timeout: Seconds to wait for each of them; another process may keep it alive.
    """
    remove_files(timeout)
    if Feature.HELPERS in AVAILABLE and sys.platform != "win32":
        tracker: Any = multiprocessing.resource_tracker._resource_tracker
        _stop_helper(tracker, "_fd", "_pid", timeout)


def _stop_helper(helper: Any, fd_name: str, pid_name: str, timeout: float) -> bool:
    """Close the pipe that keeps a helper alive, and reap it; tells whether it has ended."""
    fd, pid = getattr(helper, fd_name), getattr(helper, pid_name)
    if fd is None or pid is None or sys.platform == "win32":
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
        from multiprocessing import forkserver  # noqa: PLC0415 - only this start method needs it

        forkserver.ensure_running()
