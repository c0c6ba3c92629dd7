"""What the recorder has written, read again: processes, what they made, and how they ended."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

END = "."
"""The last field of a record that was written whole."""

MEMORY = "SharedMemory"
"""What shared memory is called."""

_NUMBER = re.compile(r"\.(\d+)\.(\d+)$")
_ESCAPED = re.compile(r"\\(.)")
_CHARACTERS = {"t": "\t", "n": "\n", "r": "\r"}


@dataclasses.dataclass(frozen=True)
class Site:
    """A line of code.

    Attributes:
        file: The path of the file.
        line: The number of the line.
        function: The function that it is in.
    """

    file: str
    line: int
    function: str = ""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where semaphores or shared memory come from.

    Attributes:
        kind: What was made, such as Queue or Lock.
        site: The line, None if no line of the program was in sight.
        thread: The name of the thread.
        is_composite: It is a single thing that all the semaphores belong to.
    """

    kind: str
    site: Site | None
    thread: str
    is_composite: bool = False


@dataclasses.dataclass(frozen=True)
class Child:
    """A process that was started by multiprocessing."""

    pid: int
    site: Site | None
    name: str
    by: str
    daemon: bool


@dataclasses.dataclass(frozen=True)
class Command:
    """A process that was started by subprocess."""

    pid: int
    site: Site | None
    command: str


@dataclasses.dataclass(frozen=True)
class Waiting:
    """What an exit had to wait for: a feeder, a child or a thread."""

    what: str
    since: int
    site: Site | None
    name: str


@dataclasses.dataclass
class Process:
    """A process, from its start, or from an exec, to its end or the next exec."""

    pid: int
    parent: int = 0
    started: int = 0
    version: str = ""
    command: str = ""
    is_tracker: bool = False
    registers: bool = False
    """Whether it has made anything that the resource tracker knows of."""
    origins: dict[int, Origin] = dataclasses.field(default_factory=dict)
    named: dict[str, Origin] = dataclasses.field(default_factory=dict)
    """Those whose names do not tell the number of their origin."""
    children: list[Child] = dataclasses.field(default_factory=list)
    commands: list[Command] = dataclasses.field(default_factory=list)
    statuses: dict[int, int] = dataclasses.field(default_factory=dict)
    unread: dict[int, int] = dataclasses.field(default_factory=dict)
    waits: list[Waiting] = dataclasses.field(default_factory=list)
    leaked: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    exited: int = 0
    left: tuple[str, int, Site | None] | None = None
    """``os._exit`` with its status or ``exec``, and where."""
    executed: str = ""
    torn: int = 0
    lost: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)
    foreign: list[str] = dataclasses.field(default_factory=list)
    """Modules of packages whose semaphores are not seen."""


@dataclasses.dataclass
class Trace:
    """All that was recorded of a command.

    Attributes:
        processes: Those that have recorded anything, in the order of their starts.
        seen: The pids of all Python processes that were reached, with their times.
        lost: Numbers of errors with which processes could not write, by pid.
    """

    processes: list[Process]
    seen: list[tuple[int, int]]
    lost: dict[int, int]

    def with_pid(self, pid: int) -> Process | None:
        """Return the last process with a number."""
        found = [process for process in self.processes if process.pid == pid]
        return found[-1] if found else None

    def origin(self, name: str) -> tuple[Process, Origin] | None:
        """Return who made something, and where.

        Args:
            name: The name of a semaphore or a block of shared memory, without a slash.
        """
        if name in self._named:
            return self._named[name]
        found = _NUMBER.search(name)
        for process in self._by_pid.get(int(found[1]), ()) if found else ():
            if found and int(found[2]) in process.origins:
                return process, process.origins[int(found[2])]
        return None

    @functools.cached_property
    def _named(self) -> dict[str, tuple[Process, Origin]]:
        return {
            name: (process, origin)
            for process in self.processes
            for name, origin in process.named.items()
        }

    @functools.cached_property
    def _by_pid(self) -> dict[int, list[Process]]:
        found: dict[int, list[Process]] = {}
        for process in self.processes:
            found.setdefault(process.pid, []).append(process)
        return found

    def statuses(self) -> dict[int, int]:
        """Return how children have ended, by pid, as their parents came to know it."""
        found: dict[int, int] = {}
        for process in self.processes:
            found |= process.statuses
        return found


def read(folder: str) -> Trace:
    """Read what the processes of a command have written.

    Args:
        folder: Where they wrote it.

    Returns:
        All of it. Lines that were cut are counted in the process's `torn`.

    Raises:
        OSError: The folder cannot be read.
    """
    processes = [
        _read_process(os.path.join(folder, f"{pid}-{started}.trace"), pid, started)
        for pid, started in _files(folder, "trace")
    ]
    return Trace(processes, reached(folder), dict(_files(folder, "lost")))


def reached(folder: str) -> list[tuple[int, int]]:
    """Return the Python processes that were reached: pid, and nanoseconds since the epoch.

    One that has executed another Python is there twice.
    """
    return _files(folder, "seen")


def _files(folder: str, ending: str) -> list[tuple[int, int]]:
    """Return the two numbers in the name of each file of a kind, by the second."""
    stems = [name[: -len(ending) - 1] for name in os.listdir(folder) if name.endswith(ending)]
    pairs = [stem.partition("-") for stem in stems]
    return sorted(((int(pid), int(number)) for pid, _, number in pairs), key=lambda pair: pair[1])


def _read_process(path: str, pid: int, started: int) -> Process:
    with open(path, "rb") as file:
        text = file.read().decode("utf-8", "surrogateescape")
    reader = _Reader(Process(pid, started=started))
    for line in text.split("\n"):
        if line:
            reader.take(line)
    return reader.process


class _Reader:
    """Takes the records of a process, one by one."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._sites: dict[str, Site] = {}

    def take(self, line: str) -> None:
        """Take a record; one that is not whole is counted."""
        word, *fields = line.split("\t")
        take: Callable[..., None] | None = getattr(self, f"_take_{word}", None)
        try:
            if take is None or fields[-1] != END:
                self.process.torn += 1
                return
            take(*map(_unescaped, fields[1:-1]))
        except (IndexError, TypeError, ValueError):  # Cut, and continued by another.
            self.process.torn += 1

    def _take_process(
        self, parent: str, _time: str, version: str, _python: str, command: str
    ) -> None:
        self.process.parent, self.process.version = int(parent), version
        self.process.command = command

    def _take_site(self, number: str, file: str, line: str, function: str) -> None:
        self._sites[number] = Site(file, int(line), function)

    def _take_origin(
        self, number: str, is_composite: str, kind: str, site: str, thread: str
    ) -> None:
        origin = Origin(kind, self._sites.get(site), thread, is_composite == "1")
        self.process.origins[int(number)] = origin

    def _take_sem(self, name: str, number: str) -> None:
        self.process.named[name.lstrip("/")] = self.process.origins[int(number)]

    def _take_shm(self, name: str, site: str, thread: str) -> None:
        self.process.named[name.lstrip("/")] = Origin(MEMORY, self._sites.get(site), thread)

    def _take_child(self, pid: str, site: str, name: str, by: str, daemon: str) -> None:
        where = self._sites.get(site)
        self.process.children.append(Child(int(pid), where, name, by, bool(daemon)))

    def _take_command(self, pid: str, site: str, command: str) -> None:
        self.process.commands.append(Command(int(pid), self._sites.get(site), command))

    def _take_ended(self, pid: str, status: str) -> None:
        self.process.statuses[int(pid)] = int(status)

    def _take_unread(self, part: str, count: str) -> None:
        self.process.unread[int(part)] = int(count)

    def _take_waits(self, what: str, time: str, where: str, name: str) -> None:
        site = self._sites.get(where)
        if what == "feeder":
            origin = self.process.origins[int(where)]
            site, name = origin.site, origin.kind
        self.process.waits.append(Waiting(what, int(time), site, name))

    def _take_exit(self, time: str) -> None:
        self.process.exited = int(time)

    def _take_leave(self, status: str, site: str) -> None:
        self.process.left = ("os._exit", int(status), self._sites.get(site))

    def _take_exec(self, site: str, path: str) -> None:
        self.process.left = ("exec", 0, self._sites.get(site))
        self.process.executed = path

    def _take_stays(self) -> None:
        self.process.left = None

    def _take_tracker(self, _kinds: str) -> None:
        self.process.is_tracker = True

    def _take_registers(self) -> None:
        self.process.registers = True

    def _take_leaked(self, kind: str, name: str) -> None:
        self.process.leaked.append((kind, name))

    def _take_foreign(self, module: str) -> None:
        self.process.foreign.append(module)

    def _take_lost(self, count: str) -> None:
        self.process.lost += int(count)

    def _take_failed(self, text: str) -> None:
        self.process.failed.append(text)


def _unescaped(field: str) -> str:
    if "\\" not in field:
        return field
    return _ESCAPED.sub(lambda match: _CHARACTERS.get(match[1], match[1]), field)
