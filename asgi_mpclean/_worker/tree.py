"""The processes that a worker has started, on Linux, and those of them that outlive it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

from . import handle

# Windows has none: there `/proc` is a folder of the current drive, which somebody may have made.
PROC = Path(os.devnull if sys.platform == "win32" else "/proc")
# A resource tracker, be it of multiprocessing or of a relative such as loky: it ends by itself when
# all who use it are gone, and cleans up then.
TRACKER = b"resource_tracker import main"
FORK_SERVER = b"multiprocessing.forkserver"


# A process is known by its pid and the time of its start, as pids are used again.
Identity = tuple[int, bytes]


class Status(NamedTuple):
    """What the system tells of a process.

    Attributes:
        parent: The pid of its parent.
        session: That of its session.
        start: When it has started.
        ended: It is a zombie.
        runnable: Its main thread computes, or waits for its turn to.
    """

    parent: int
    session: int
    start: bytes
    ended: bool
    runnable: bool


class Table:
    """Which processes there are, read at once: one look serves all workers."""

    def __init__(self) -> None:
        self._statuses: dict[int, Status] = {}
        self._children: dict[int, list[int]] = {}
        with contextlib.suppress(OSError):
            for entry in os.listdir(PROC):
                if entry.isdigit() and (status := status_of(int(entry))):
                    self._statuses[int(entry)] = status
                    self._children.setdefault(status.parent, []).append(int(entry))

    def descendants(self, pid: int | None) -> dict[Identity, None]:
        """Return the processes that a worker of ours has started, and theirs, parents first.

        Who cleans up when its clients are gone is none of them: a resource tracker, and whoever has
        a session of its own, as daemons have and the memory manager of torch.

        Args:
            pid: That of the worker. If it is somebody else's by now, there are none.
        """
        if pid not in self._statuses or not self.is_below(pid, os.getpid()):
            return {}
        return self._below(pid, self._statuses[pid].session)

    def is_below(self, pid: int, root: int) -> bool:
        """Tell whether a process is another, or comes from it."""
        seen: set[int] = set()
        while pid != root and pid not in seen and pid in self._statuses:
            seen.add(pid)
            pid = self._statuses[pid].parent
        return pid == root

    def _below(self, root: int, session: int) -> dict[Identity, None]:
        found: dict[Identity, None] = {}
        left = [root]
        while left:
            for pid in self._children.get(left.pop(0), ()):
                status = self._statuses[pid]
                if _is_ended_with(pid, status, session):
                    found[pid, status.start] = None
                    left.append(pid)
        return found


def late_children(processes: dict[Identity, None]) -> dict[Identity, None]:
    """Return the children that these have now, which a worker of ours has started, or its children.

    Who is told to end may start somebody else. One that is gone before the next look leaves an
    orphan of whom nothing tells that it was a descendant of ours; and a kernel without a list of
    children says nothing at all.
    """
    found: dict[Identity, None] = {}
    for pid, start in processes:
        session = status.session if (status := status_of(pid)) else 0
        children = _children(pid)
        # Asked once more, so that these are not the children of who has the number now.
        if children and _lives((pid, start)):
            for child in children:
                status = status_of(child)
                if status and status.parent == pid and _is_ended_with(child, status, session):
                    found[child, status.start] = None
    return found


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        tasks = os.listdir(PROC / str(pid) / "task")
        return [int(n) for task in tasks for n in read(pid, f"task/{task}/children").split()]
    return []


def _is_ended_with(pid: int, status: Status, session: int) -> bool:
    """Tell whether a process ends with the worker that it comes from, by whose session that has."""
    return status.session == session and TRACKER not in read(pid, "cmdline")


def may_have_inherited(pid: int) -> bool:
    """Tell whether a process may have descriptors of ours: it comes from us, or from our session.

    Args:
        pid: That of any process but a zombie, which has none.
    """
    status, own = status_of(pid), status_of(os.getpid())
    if status is None or status.ended:
        return False
    if own is not None and own.session == status.session:
        return True
    return Table().is_below(pid, os.getpid())


def of_fork_server(pid: int | None) -> dict[Identity, None]:
    """Return a worker that a fork server has started, on Linux; none if it is none, or gone.

    It outlives that server if a signal to the process group ends the server. Then nobody reports
    when the worker ends.

    Args:
        pid: That of the worker. It has the command line of the server, as it was forked from it.
    """
    if pid is None or FORK_SERVER not in read(pid, "cmdline") or not (status := status_of(pid)):
        return {}
    return {(pid, status.start): None}


def living(processes: dict[Identity, None]) -> dict[Identity, None]:
    """Return those of the processes that have not ended; a zombie has."""
    return {identity: None for identity in processes if _lives(identity)}


def _lives(identity: Identity) -> bool:
    status = status_of(identity[0])
    return status is not None and status.start == identity[1] and not status.ended


def send(processes: dict[Identity, None], signum: int) -> None:
    """Send a signal to those of the processes that have not ended."""
    for identity in processes:
        with contextlib.suppress(OSError), handle.opened(identity[0]) as process:
            # Asked now, as the handle is that of who has the number now.
            if _lives(identity):
                process.send(signum)


def status_of(pid: int | None) -> Status | None:
    """Return what `/proc/pid/stat` tells; None if there is no process."""
    # From the state on, as the name of the program before it can hold anything.
    fields = read(pid, "stat").rpartition(b") ")[2].split()
    if not fields:
        return None
    return Status(int(fields[1]), int(fields[3]), fields[19], fields[0] in b"ZX", fields[0] == b"R")


def read(pid: int | None, name: str) -> bytes:
    """Return a file that `/proc` has of a process; nothing, if there is no process."""
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""
