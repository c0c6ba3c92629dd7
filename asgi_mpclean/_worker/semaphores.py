"""The named semaphores of a worker: which it has made, so that they can be unlinked for it.

A process that dies by a signal does not unlink what it has made. Whatever it has only opened is
somebody else's.
"""

from __future__ import annotations

import contextlib
import os

from asgi_mpclean._cpython.semaphores import is_pythons_name, unlink_semaphores

from . import look, tree

# What glibc puts before the name of a semaphore for that of its file; musl puts nothing.
PREFIX = "sem."


def made_by(pid: int | None) -> dict[str, int]:
    """Return the semaphores that a worker has made by multiprocessing: their files, with inodes.

    glibc and musl make a semaphore under a temporary name, link it to its real one, and unlink the
    first. So what a process has mapped tells on Linux whether it has made it: by the real name, it
    was opened; by another one, made. Without `/proc`, or with another C library, none is known:
    there they are left to the resource tracker.

    Args:
        pid: That of the worker, which lives.
    """
    here, made = look.now(), look.mapped(pid)
    status = tree.status_of(pid) if made else None
    if status is None:
        return {}
    # By fork a worker inherits what this process has made, or the fork server.
    for other in {os.getpid(), status.parent}:
        for inode in here.mapped(other):
            made.pop(inode, None)
    found = {}
    for file, inode in here.shared_memory().items() if made else ():
        if is_pythons_name(_name(file)):
            real = f"{look.SHARED_MEMORY}/{file}"
            if made.get(inode, real) != real:
                found[file] = inode
    return found


def _name(file: str) -> str:
    """Return the name of the semaphore that has a file."""
    return "/" + file.removeprefix(PREFIX)


def unlink_leftovers(semaphores: dict[str, int]) -> int:
    """Unlink those semaphores of a dead process that are still there; returns how many.

    Args:
        semaphores: Their files, with inodes.
    """
    left = []
    for file, inode in semaphores.items():
        with contextlib.suppress(OSError):
            if os.stat(f"{look.SHARED_MEMORY}/{file}").st_ino == inode:
                left.append(_name(file))
    # A tracker of its own may have heard of them, instead of ours.
    return unlink_semaphores(left, known=False)
