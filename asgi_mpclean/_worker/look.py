"""One look at the system: what it tells of all processes is read once, however many ask."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from asgi_mpclean._cpython.fork import PerProcess

from . import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where Linux keeps named semaphores


class Look:
    """What there is at one moment, each thing read when it is first asked for."""

    def __init__(self) -> None:
        self._table: tree.Table | None = None
        self._shared_memory: dict[str, int] | None = None
        self._mapped: dict[int, dict[int, str]] = {}

    def table(self) -> tree.Table:
        """Return all processes."""
        self._table = self._table or tree.Table()
        return self._table

    def shared_memory(self) -> dict[str, int]:
        """Return the files in shared memory, with their inodes."""
        if self._shared_memory is None:
            self._shared_memory = {}
            with contextlib.suppress(OSError), os.scandir(SHARED_MEMORY) as entries:
                self._shared_memory = {entry.name: entry.inode() for entry in entries}
        return self._shared_memory

    def mapped(self, pid: int) -> dict[int, str]:
        """Return what a process has mapped of shared memory: the inodes, with their paths."""
        if pid not in self._mapped:
            self._mapped[pid] = mapped(pid)
        return self._mapped[pid]


def mapped(pid: int | None) -> dict[int, str]:
    """Return what a process has mapped of shared memory now: the inodes, with their paths."""
    found = {}
    for line in tree.read(pid, "maps").decode(errors="replace").splitlines():
        if f" {SHARED_MEMORY}/" in line:
            *_, inode, path = line.split(None, 5)
            found[int(inode)] = path
    return found


class _Looks(PerProcess):
    """The look that is shared at this moment."""

    shared: Look | None

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        self.shared = None


_looks = _Looks()


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Have all that is asked meanwhile answered by one look."""
    _looks.shared = Look()
    try:
        yield
    finally:
        _looks.shared = None


def now() -> Look:
    """Return the look that is shared, or else a new one."""
    return _looks.shared or Look()
