"""The processes of a run, found by ``/proc``."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PROC = Path("/proc")
TRACKER = "multiprocessing.resource_tracker"


@functools.cache
def adopt_orphans() -> None:
    """Make this process the parent of descendants who lose theirs, so that it can reap them."""
    set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


@dataclasses.dataclass(frozen=True)
class Descendant:
    """A process of the run, zombies included."""

    pid: int
    parent: int
    zombie: bool
    command: str

    @property
    def is_tracker(self) -> bool:
        """Whether it is a resource tracker."""
        return TRACKER in self.command

    @property
    def is_orphan(self) -> bool:
        """Whether it should not outlive the server, as only the resource tracker may.

        A process that is just ending has lost its command line before it becomes a zombie.
        """
        return not self.zombie and bool(self.command) and not self.is_tracker

    def __str__(self) -> str:
        """Return the pid and the command line."""
        return f"{self.pid} {self.command}"


def read_proc(pid: int, name: str) -> bytes:
    """Return the content of a file of ``/proc/pid``, empty where there is none to be read."""
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""


def descendants(mark: bytes, session: int) -> list[Descendant]:
    """Find all processes that carry the mark in their environment or belong to the session."""
    found = []
    for pid in (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()):
        _, _, stat = read_proc(pid, "stat").rpartition(b") ")
        fields = stat.split()
        if not fields:
            continue
        # A zombie has no environment any more, a child that called setsid() has another session.
        if int(fields[3]) != session and mark not in read_proc(pid, "environ"):
            continue
        command = read_proc(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
        zombie = fields[0] in (b"Z", b"X")
        found.append(Descendant(pid, int(fields[1]), zombie, command.strip()))
    return found


def mapped_inodes(pids: Iterable[int]) -> set[int]:
    """Return the inodes of all that the processes have mapped from ``/dev/shm``.

    The names there are no evidence: glibc maps a semaphore under a temporary name.
    """
    inodes = set()
    for pid in pids:
        for line in read_proc(pid, "maps").splitlines():
            if b" /dev/shm/" in line:
                inodes.add(int(line.split()[4]))
    return inodes


def watched_inodes(pids: Iterable[int]) -> set[int]:
    """Return the inodes that the processes watch for changes with inotify."""
    watch = re.compile(rb"^inotify wd:\S+ ino:(\S+)", re.MULTILINE)
    inodes: set[int] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for fdinfo in (PROC / str(pid) / "fdinfo").iterdir():
                inodes.update(int(inode, 16) for inode in watch.findall(fdinfo.read_bytes()))
    return inodes


def cpu_ticks(pids: Iterable[int]) -> int:
    """Return the processor time that the processes have used, in clock ticks."""
    ticks = 0
    for pid in pids:
        _, _, stat = read_proc(pid, "stat").rpartition(b") ")
        if fields := stat.split():
            ticks += int(fields[11]) + int(fields[12])
    return ticks
