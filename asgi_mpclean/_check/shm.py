"""What a run leaves in ``/dev/shm``."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import system
from .processes import mapped_inodes

if TYPE_CHECKING:
    from collections.abc import Iterable

SHM = Path("/dev/shm")
PRIVATE_SHM = 'mount --bind "$0" /dev/shm && exec "$@"'


@functools.cache
def can_unshare() -> bool:
    """Whether a process can be given a ``/dev/shm`` of its own: root, and not confined."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    with tempfile.TemporaryDirectory(prefix="mpclean-", dir=SHM) as folder:
        command = [*unshared(Path(folder)), "true"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unshared(folder: Path) -> list[str]:
    """Return the words before a command that put the folder in the place of its ``/dev/shm``."""
    words = ["unshare", "--mount", "--propagation", "private"]
    return [*words, "sh", "-c", PRIVATE_SHM, str(folder)]


def is_shown() -> bool:
    """Whether the system shows what there is of shared memory and semaphores: only Linux does."""
    # Wine has the folders of the system below it.
    return sys.platform != "win32" and SHM.is_dir()


def counted_by() -> str | None:
    """Return by what leaks are counted, None where nothing can leak."""
    return str(SHM) if is_shown() else system.COUNTED_BY


def _entries() -> list[os.DirEntry[str]]:
    return list(os.scandir(SHM)) if is_shown() else []


class SharedMemory:
    """What a run leaves in ``/dev/shm``: by a private mount, or else by inodes it had mapped."""

    def __init__(self, *, private: bool) -> None:
        """Make the folder that will be mounted, if any, and note what others have there."""
        self.folder = Path(tempfile.mkdtemp(prefix="mpclean-", dir=SHM)) if private else None
        self._before = {entry.inode() for entry in _entries()}
        self._mapped: set[int] = set()

    def command_prefix(self) -> list[str]:
        """Return the words to put before the server's command; the pid stays."""
        return unshared(self.folder) if self.folder else []

    def observe(self, pids: Iterable[int]) -> None:
        """Note what the processes have mapped at this moment; a private mount needs no notes."""
        if self.folder is None:
            self._mapped |= mapped_inodes(pids)

    def names(self) -> tuple[str, ...]:
        """Return the names of what the run has in ``/dev/shm`` now."""
        if self.folder is not None:
            return tuple(sorted(entry.name for entry in self.folder.iterdir()))
        own = self._mapped - self._before
        return tuple(sorted(entry.name for entry in _entries() if entry.inode() in own))

    def remove(self) -> None:
        """Remove what the run left there."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for name in self.names():
            with contextlib.suppress(OSError):
                (SHM / name).unlink()
