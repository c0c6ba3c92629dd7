"""The processes that a worker has started, on Linux, and those of them that outlive it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

PROC = Path("/proc")
TRACKER = b"multiprocessing.resource_tracker"
FORK_SERVER = b"multiprocessing.forkserver"


# A process is known by its pid and the time of its start, as pids are used again.
Identity = tuple[int, bytes]


def descendants(pid: int | None) -> set[Identity]:
    """Return the processes that a worker of ours has started, and theirs, on Linux; else none.

    A resource tracker is none of them: it ends by itself, and cleans up then.

    Args:
        pid: That of the worker. If it is somebody else's by now, there are none.
    """
    parents: dict[int, int] = {}
    starts: dict[int, bytes] = {}
    with contextlib.suppress(OSError):
        for entry in PROC.iterdir():
            if entry.name.isdigit() and (fields := _stat(int(entry.name))):
                parents[int(entry.name)], starts[int(entry.name)] = int(fields[1]), fields[19]
    if pid is None or os.getpid() not in {pid} | _ancestors(pid, parents):
        return set()
    below = {number for number in parents if pid in _ancestors(number, parents)}
    return {(number, starts[number]) for number in below if TRACKER not in _read(number, "cmdline")}


def of_fork_server(pid: int | None) -> set[Identity]:
    """Return a worker that a fork server has started, on Linux; none if it is none, or gone.

    It outlives that server if a signal to the process group ends the server. Then nobody reports
    when the worker ends.

    Args:
        pid: That of the worker. It has the command line of the server, as it was forked from it.
    """
    if pid is None or FORK_SERVER not in _read(pid, "cmdline") or not (fields := _stat(pid)):
        return set()
    return {(pid, fields[19])}


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.add(pid)
    return found


def living(processes: set[Identity]) -> set[Identity]:
    """Return those of the processes that have not ended; a zombie has ended."""
    return {
        (pid, start)
        for pid, start in processes
        if (fields := _stat(pid)) and fields[19] == start and fields[0] not in b"ZX"
    }


def send(processes: set[Identity], signum: int) -> None:
    """Send a signal to those of the processes that have not ended."""
    for pid, _ in living(processes):
        with contextlib.suppress(OSError):
            os.kill(pid, signum)


def _stat(pid: int) -> list[bytes]:
    """Return the fields of `/proc/pid/stat` from the state on; none if there is no process."""
    return _read(pid, "stat").rpartition(b") ")[2].split()


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""
