"""Runs a command with the recorder in its Python processes, until all of them have ended."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import psutil

from asgi_mpclean._inject.environment import environment

from . import processes
from .errors import TraceError
from .reading import Trace, reached, read
from .relay import relayed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .relay import Relay

FOLDER = "ASGI_MPCLEAN_TRACE"
"""The variable with the folder of the records; the recorder has the same name."""

RECORDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorder", "__init__.py")
NOT_FOUND = 127
NOT_EXECUTABLE = 126
"""What a shell says of a command that cannot be started, and `env` and `timeout` as well."""

SHM = "/dev/shm"
ROOM = 65536
"""Bytes that have to be free for records that are not written yet."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A command that has ended.

    Attributes:
        command: Its words.
        pid: Its process.
        status: Its exit code, or the negative number of the signal that killed it.
        trace: What its processes have recorded.
        statuses: How its processes have ended, by pid, where that is known.
        left: Its processes that still run, by pid, with their command lines.
        on_disk: Names of semaphores and shared memory that are there now.
        trouble: What kept records from being written.
        shows_disk: Whether such names can be seen, as only on Linux.
    """

    command: tuple[str, ...]
    pid: int
    status: int
    trace: Trace
    statuses: dict[int, int]
    left: dict[int, str]
    on_disk: frozenset[str]
    trouble: tuple[str, ...] = ()
    shows_disk: bool = True


def run(command: Sequence[str]) -> Run:
    """Run a command on this terminal, as if it had been started without us.

    Args:
        command: The program and its arguments.

    Returns:
        What it has left.

    Raises:
        TraceError: There is no folder to record in, or the program cannot be started.
    """
    with _folder() as folder:
        env = environment({**os.environ, FOLDER: folder}, [RECORDER], seen=folder)
        statuses: dict[int, int] = {}
        _adopt_orphans()
        with relayed() as relay:
            pid, status = _run(command, env, relay, statuses)
        left = _wait_for_others(folder, statuses)
        trouble = _trouble(folder)
        trace = read(folder)
        statuses = trace.statuses() | statuses | {pid: status}
        names, shown = on_disk()
        return Run(tuple(command), pid, status, trace, statuses, left, names, trouble, shown)


def _run(
    command: Sequence[str], env: dict[str, str], relay: Relay, statuses: dict[int, int]
) -> tuple[int, int]:
    try:
        # What this process has inherited is the command's.
        process = subprocess.Popen(command, env=env, close_fds=False)
    except FileNotFoundError:
        message = f"{command[0]} is not found"
        raise TraceError(message, NOT_FOUND) from None
    except OSError as error:
        message = f"{command[0]} cannot be started: {error.strerror}"
        raise TraceError(message, NOT_EXECUTABLE) from None
    relay.pid = process.pid
    if sys.platform == "win32":
        return process.pid, process.wait()
    while process.pid not in statuses:
        pid, status = os.waitpid(-1, 0)
        statuses[pid] = os.waitstatus_to_exitcode(status)
    relay.pid = 0
    process.returncode = statuses[process.pid]
    if relay.witness in statuses:  # Killed by somebody.
        statuses.pop(relay.witness)
        relay.witness = 0
    return process.pid, process.returncode


def _wait_for_others(folder: str, statuses: dict[int, int]) -> dict[int, str]:
    """Wait for what the command has left running; what goes on running comes back."""
    left = processes.wait_for(_living(folder, statuses), statuses)
    while fresh := [found for found in _living(folder, statuses) if found not in left]:
        # Started in the meantime, such as by a process that has ended since.
        still = processes.wait_for(fresh, statuses)
        if still:
            left += still
            break
    others = [process for process in left if not processes.is_tracker(process)]
    return {process.pid: _command_line(process) for process in others}


def _living(folder: str, statuses: dict[int, int]) -> list[psutil.Process]:
    seen = [(pid, started / 1e9) for pid, started in reached(folder) if pid not in statuses]
    return processes.living(FOLDER, folder, seen)


def _command_line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline()) or process.name()
    return ""


def _adopt_orphans() -> None:
    """Make this process the parent of descendants who lose theirs, to learn how they end."""
    if sys.platform == "linux":
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """Make a folder for the records, and remove it."""
    try:
        outer = tempfile.mkdtemp(prefix="asgi-mpclean-")
    except OSError as error:
        message = f"no temporary folder to record in (TMPDIR may name one): {error.strerror}"
        raise TraceError(message) from None
    try:
        yield _inner(outer)
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def _inner(outer: str) -> str:
    """Make the folder itself: processes that change their user have to write there as well.

    Nobody else can: the outer folder shows no names, and the name of this one is random.
    """
    try:
        os.chmod(outer, 0o711)  # noqa: S103
        inner = tempfile.mkdtemp(dir=outer)
        os.chmod(inner, 0o1733)  # noqa: S103
        _probe(inner)
    except OSError as error:
        message = f"nothing can be recorded in {os.path.dirname(outer)}: {error.strerror}"
        raise TraceError(message) from None
    return inner


def _probe(folder: str) -> None:
    """Write into the folder, and remove it again."""
    path = os.path.join(folder, "probe")
    with open(path, "wb") as file:
        file.write(b"." * ROOM)
    os.unlink(path)


def _trouble(folder: str) -> tuple[str, ...]:
    try:
        _probe(folder)
    except OSError as error:
        return (f"{folder} cannot be written any more: {error.strerror}; records may be missing",)
    return ()


def on_disk() -> tuple[frozenset[str], bool]:
    """Return the names that are left, and whether they can be seen at all.

    They are as multiprocessing calls them, without the slash.
    """
    try:
        names = os.listdir(SHM) if sys.platform != "win32" else None
    except OSError:
        names = None
    return frozenset(name.removeprefix("sem.") for name in names or ()), names is not None
