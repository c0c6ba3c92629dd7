"""The processes of a command that still run: known by their environment, or by their records."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE = 2.0
"""Seconds that what the command started has, after its end, to end as well."""

POLL = 0.02
TRACKER = "resource_tracker import main"


def living(variable: str, value: str, others: Iterable[tuple[int, float]]) -> list[psutil.Process]:
    """Find the processes of a command.

    Args:
        variable: The name of an environment variable that all of them have.
        value: What it says.
        others: Pids that are known besides, as a program may overwrite its environment in memory,
            each with a time, in seconds since the epoch, at which it was running.

    Returns:
        Those that run, without zombies, and whatever runs below this process.
    """
    known = dict(others)
    found = {process.pid: process for process in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in known:
                is_ours = process.create_time() <= known[process.pid] + 1
            else:
                is_ours = process.environ().get(variable) == value
            if is_ours and process.pid != os.getpid():
                found[process.pid] = process
    return [process for process in found.values() if _runs(process)]


def is_tracker(process: psutil.Process) -> bool:
    """Tell whether it is a resource tracker, which ends after all others."""
    with contextlib.suppress(psutil.Error, OSError):
        return any(TRACKER in word for word in process.cmdline())
    return True  # It has just ended.


def wait_for(processes: Iterable[psutil.Process], statuses: dict[int, int]) -> list[psutil.Process]:
    """Wait until processes have ended; those that have not come back.

    Args:
        processes: What to wait for.
        statuses: How those that have become children of this process ended is added to it.
    """
    until = time.monotonic() + PATIENCE
    left = list(processes)
    while True:
        reap(statuses)
        left = [process for process in left if _runs(process)]
        if not left or time.monotonic() > until:
            return left
        time.sleep(POLL)


def reap(statuses: dict[int, int]) -> None:
    """Take note of the children of this process that have ended."""
    if not hasattr(os, "WNOHANG"):
        return
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            statuses[ended[0]] = os.waitstatus_to_exitcode(ended[1])


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
