"""Which other processes hold the end of a pipe: asked only where no lock tells who reads.

On Linux the descriptors of a process are listed in `/proc`, and the two ends of a pipe have the
same inode there, those of a socket pair one each. Whoever cannot be looked at may hold it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

from asgi_mpclean._cpython.fork import PerProcess
from asgi_mpclean._worker.tree import PROC, may_have_inherited

# How old (seconds) a look at all processes may be. A thousand queues do with one.
FRESH_SECONDS = 0.2
# The time (seconds) that a look may take, after which nobody knows.
LOOK_SECONDS = 0.5
# PyPy has no `os.O_ACCMODE`.
ACCESS_MODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


class _Look(PerProcess):
    """The pipes and sockets of all other processes, as they were a moment ago."""

    taken: float
    complete: bool
    holders: dict[str, list[str]]

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        self.taken = 0.0
        self.complete = False
        self.holders = {}

    def refresh(self) -> None:
        """Look at all processes, unless that has just been done."""
        now = time.monotonic()
        if self.taken and now - self.taken < FRESH_SECONDS:
            return
        self.complete, self.holders, own = True, {}, os.readlink(PROC / "self")
        for pid in os.listdir(PROC):
            if pid.isdigit() and pid != own:
                self._note(pid)
            if time.monotonic() - now > LOOK_SECONDS:
                self.complete = False
                break
        self.taken = time.monotonic()

    def _note(self, pid: str) -> None:
        folder = f"{PROC}/{pid}/fd"
        try:
            for number in os.listdir(folder):
                with contextlib.suppress(OSError):  # It has been closed.
                    link = os.readlink(f"{folder}/{number}")
                    if link.startswith(("pipe:", "socket:")):
                        self.holders.setdefault(link, []).append(f"{folder}/{number}")
        except PermissionError:
            self.complete &= not may_have_inherited(int(pid))
        except OSError:  # It has ended.
            return


_look = _Look()


def is_held_elsewhere(fd: int, *, to_read: bool = False) -> bool | None:
    """Tell whether another process may hold the pipe or the socket behind a descriptor.

    Args:
        fd: A descriptor of ours.
        to_read: Leave out those who can only write to it.

    Returns:
        None where the system does not tell such things at all.
    """
    try:
        link = os.readlink(f"{PROC}/self/fd/{fd}")
        _look.refresh()
    except OSError:
        return None
    # Who has let go of it since does not count.
    held = [path for path in _look.holders.get(link, ()) if _is(path, link)]
    if to_read:
        held = [path for path in held if _can_read(path)]
    return bool(held) or not _look.complete


def is_read_by(pid: int | None, fd: int) -> bool:
    """Tell whether a process is waiting for something to come out of a pipe, as far as is known.

    Args:
        pid: That of the process.
        fd: A descriptor of ours, of the same pipe.
    """
    with contextlib.suppress(OSError):
        link = os.readlink(f"{PROC}/self/fd/{fd}")
        for task in os.listdir(f"{PROC}/{pid}/task"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The number of the system call and its arguments; of a read, first the descriptor.
                with open(f"{PROC}/{pid}/task/{task}/syscall") as file:
                    path = f"{PROC}/{pid}/fd/{int(file.read().split()[1], 16)}"
                if _is(path, link) and _can_read(path):
                    return True
    return False


def _is(path: str, link: str) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(path) == link
    return False


def _can_read(path: str) -> bool:
    """Tell whether a descriptor, by its path, can be read; so it counts if that cannot be told."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        if sys.platform == "win32":
            return True
        with open(path.replace("/fd/", "/fdinfo/")) as file:
            flags = next(line.split()[1] for line in file if line.startswith("flags:"))
        return int(flags, 8) & ACCESS_MODE != os.O_WRONLY
    return True
