"""The ends of a tree of processes: who outlives a worker, and how a worker outlives nobody.

A server that is killed by SIGKILL runs no code, so its workers have to notice for themselves. They
do by a pipe of which only the parent has the other end; multiprocessing has one for each child.
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

PROC = Path("/proc")
# How often (seconds) a child by fork looks for its parent: its siblings inherit the pipe's ends.
LOOK = 0.2
# How long (seconds) a worker whose parent is dead may take for its `finally` blocks.
GRACE = 0.5
TRACKER = b"multiprocessing.resource_tracker"
FORK_SERVER = b"multiprocessing.forkserver"


def end_with_parent(sentinel: Any, parent: int | None) -> None:
    """Let this process end by SIGTERM when its parent dies, and by SIGKILL soon after.

    Args:
        sentinel: The handle that becomes ready when the parent is gone.
        parent: Its pid. The system tells of its death as well where it forked this process, or
            spawned it; the fork server does so in its place.
    """
    if sentinel is not None:
        arguments = (sentinel, parent if parent == os.getppid() else None)
        threading.Thread(
            target=_wait_for_parent, args=arguments, name="asgi_mpclean-parent", daemon=True
        ).start()


def _wait_for_parent(sentinel: Any, parent: int | None) -> None:
    while not multiprocessing.connection.wait([sentinel], LOOK if parent else None):
        if os.getppid() != parent:
            break
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


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

    It outlives that server, which a signal to all ends, and nobody tells then when it ends.

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
    """Return those of the processes that have not ended; a zombie has."""
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
