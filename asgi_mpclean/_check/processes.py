"""The processes of a run, found by psutil; and what of theirs only Linux's ``/proc`` tells."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import math
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PROC = Path("/proc")
TRACKER = "multiprocessing.resource_tracker"
CONSOLE = re.compile(r"[^ ]*\\conhost\.exe\b", re.IGNORECASE)
"""What Windows itself starts for a console, and ends with the last process in it."""


@functools.cache
def adopt_orphans() -> None:
    """Make this process the parent of descendants who lose theirs, so that it can reap them."""
    if sys.platform != "linux":  # Elsewhere they are adopted by the first process.
        return
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
        """Whether it should not outlive the server, as only the resource tracker may."""
        return not self.zombie and bool(self.command) and not self.is_tracker

    @property
    def is_changing(self) -> bool:
        """Whether a moment later it is a zombie, or another program: it has no command line now."""
        return not self.zombie and not self.command

    def __str__(self) -> str:
        """Return the pid and the command line."""
        return f"{self.pid} {self.command}"


def read_proc(pid: int, name: str) -> bytes:
    """Return the content of a file of ``/proc/pid``, empty where there is none to be read."""
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""


class Family:
    """All processes of a run: known by their environment, by their session, or by their parents.

    On Linux the first two find all. Elsewhere the environment of a process may be denied, and
    Windows has no sessions; but there nobody adopts a process while its parent lives.

    Args:
        mark: The name and the value of a variable that they have. A zombie has no environment any
            more, and a process may have cleared its own.
    """

    def __init__(self, mark: tuple[str, str]) -> None:
        """Know the mark; of no process yet."""
        self._mark = mark
        self._session = -1
        self._born: dict[int, float] = {}

    def begin(self, pid: int) -> None:
        """Begin with the server: its number is that of its session, which a process may leave."""
        self._session = pid
        with contextlib.suppress(psutil.Error):
            self._born[pid] = psutil.Process(pid).create_time()

    def members(self) -> list[Descendant]:
        """Return those who are there now, zombies included."""
        found: list[psutil.Process] = []
        others: dict[psutil.Process, float] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError), process.oneshot():
                if self._is_marked(process):
                    found.append(process)
                elif sys.platform != "linux":
                    others[process] = process.create_time()
        if sys.platform != "linux":
            found += self._children(found, others)
        return list(_described(found))

    def _is_marked(self, process: psutil.Process) -> bool:
        return _is_in_session(process.pid, self._session) or _has(process, *self._mark)

    def _children(
        self, known: list[psutil.Process], others: dict[psutil.Process, float]
    ) -> list[psutil.Process]:
        """Return whom those have started that are known, or were when this was last asked."""
        owners = {process.pid: born for process, born in others.items()}
        # A number that has a new owner says nothing.
        before = {pid: born for pid, born in self._born.items() if owners.get(pid, born) == born}
        now = {}
        for process in known:
            with contextlib.suppress(psutil.Error, OSError):
                now[process.pid] = process.create_time()
        found = []
        for process, born in sorted(others.items(), key=lambda pair: pair[1]):
            with contextlib.suppress(psutil.Error, OSError):
                parent = process.ppid()
                is_child = now.get(parent, before.get(parent, math.inf)) <= born
                if is_child or before.get(process.pid) == born:
                    now[process.pid] = born
                    found.append(process)
        self._born = now
        return found


def _described(processes: Iterable[psutil.Process]) -> Iterator[Descendant]:
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError), process.oneshot():
            zombie = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            command = "" if zombie else _command_line(process)
            if not CONSOLE.match(command):
                yield Descendant(process.pid, process.ppid(), zombie, command.strip())


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.AccessDenied:
        return _name(process)


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.AccessDenied, OSError):
        return str(process.name())
    return "?"


def _is_in_session(pid: int, session: int) -> bool:
    if sys.platform == "win32":
        return False
    with contextlib.suppress(PermissionError):
        return os.getsid(pid) == session
    return False


def _has(process: psutil.Process, variable: str, value: str) -> bool:
    try:
        # A run inside of another begins with the mark of that.
        return str(process.environ().get(variable, "")).startswith(value)
    except psutil.AccessDenied:
        return False


def kill(pid: int) -> None:
    """Kill a process, if it is still there."""
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process(pid).kill()


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


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that the processes have used."""
    return sum(float(used.user + used.system) for used in _of_each(pids, psutil.Process.cpu_times))


def listening_ports(pids: Iterable[int]) -> list[int]:
    """Return the TCP ports on which the processes listen."""
    connections = _of_each(pids, lambda process: process.net_connections("tcp"))
    return sorted(
        {
            connection.laddr.port
            for found in connections
            for connection in found
            if connection.status == psutil.CONN_LISTEN
        }
    )


def _of_each(pids: Iterable[int], ask: Callable[[psutil.Process], Any]) -> Iterator[Any]:
    for pid in pids:
        with contextlib.suppress(psutil.Error, OSError, ValueError):  # It is gone, or no pid.
            yield ask(psutil.Process(pid))
