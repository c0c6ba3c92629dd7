"""Which process it was, and how it ended, in words."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from . import sites

if TYPE_CHECKING:
    from .launch import Run
    from .reading import Process


def label(run: Run, process: Process) -> str:
    """Return what a person calls a process."""
    if process.pid == run.pid:
        return f"main process {process.pid}"
    for other in run.trace.processes:
        for child in other.children:
            if child.pid == process.pid:
                return f"{child.name} ({process.pid})"
    return f"process {process.pid}"


def ending(run: Run, process: Process) -> str:
    """Return how a process ended."""
    status = run.statuses.get(process.pid)
    how, code, site = process.left or ("", 0, None)
    if how == "exec":
        return f"exec of {process.executed} at {sites.shown(site)}"
    if status is not None and status < 0:
        return f"killed by {_signal(-status)}"
    if how:
        return f"{how}({code}) at {sites.shown(site)}"
    if process.pid in run.left:
        return "still running"
    return _without_more(process, status)


def _without_more(process: Process, status: int | None) -> str:
    if process.exited:
        return "exit" if status is None else f"exit code {status}"
    if status is not None:
        return f"exit code {status}, without exit functions"
    return "killed, as it ran no exit functions"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
