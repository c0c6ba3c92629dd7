"""Whether this process is a worker by fork of a server that looks after it, as gunicorn's is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from asgi_mpclean._cpython.fork import GENERATION

# Fields of /proc/PID/stat, behind the name. Linux marks a process that was forked and has executed
# nothing; and its code and its stack are where those of its parent are.
FLAGS, LAYOUT = 6, slice(23, 26)
FORKED = 0x40


# Who adopts the children of a process that has ended.
FIRST_PROCESS = 1


def is_forked_worker() -> bool:
    """Tell whether the process that forked this one, as gunicorn does, still looks after it."""
    if not hasattr(os, "fork"):
        return False
    try:
        own, parent = _process_status("self"), _process_status(str(os.getppid()))
    except (OSError, ValueError):  # There is no `/proc`, or the parent is somebody else's.
        return _is_known_as_fork()
    return bool(int(own[FLAGS]) & FORKED) and own[LAYOUT] == parent[LAYOUT]


def _is_known_as_fork() -> bool:
    """Tell the same by Python's own account, which only knows of forks since we were imported.

    Of a worker that imports the app after its fork, macOS tells; elsewhere it takes itself for a
    program that was started.
    """
    if GENERATION.count:
        return os.getppid() == GENERATION.parent
    if sys.platform != "darwin":
        return False
    from . import apple  # noqa: PLC0415 - costs others an import of `ctypes`

    return os.getppid() != FIRST_PROCESS and not apple.has_executed(os.getpid())


def _process_status(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
