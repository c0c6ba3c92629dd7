"""The named semaphores of a worker: which it has made, so that they can be unlinked for it.

A process that dies by a signal does not unlink what it has made. Whatever it has only opened is
somebody else's.
"""

from __future__ import annotations

import contextlib
import os

from asgi_mpclean._cpython.semaphores import is_pythons_name, unlink_semaphores

from . import look, tree

PREFIX = "sem."


def made_by(pid: int | None) -> dict[str, int]:
    """Return the semaphores that a worker has made by multiprocessing, each with its inode.

    glibc makes a semaphore under a temporary name, links it to its real one, and unlinks the first.
    So what a process has mapped tells on Linux whether it has made it: by the real name, it was
    opened; by another one, made. Without `/proc`, or with another C library, none is known.

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
        name = "/" + file.removeprefix(PREFIX)
        if file.startswith(PREFIX) and is_pythons_name(name):
            real = f"{look.SHARED_MEMORY}/{file}"
            if made.get(inode, real) != real:
                found[name] = inode
    return found


def unlink_leftovers(semaphores: dict[str, int]) -> int:
    """Unlink those semaphores of a dead process that are still there; returns how many."""
    left = []
    for name, inode in semaphores.items():
        with contextlib.suppress(OSError):
            if os.stat(f"{look.SHARED_MEMORY}/{PREFIX}{name[1:]}").st_ino == inode:
                left.append(name)
    # A tracker of its own may have heard of them, instead of ours.
    return unlink_semaphores(left, known=False)
