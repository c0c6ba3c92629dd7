"""Whether this process is a worker by fork of a server that looks after it, as gunicorn's is."""

from __future__ import annotations

import os
from pathlib import Path

# Fields of /proc/PID/stat, behind the name. Linux marks a process that was forked and has executed
# nothing; and its code and its stack are where those of its parent are.
FLAGS, LAYOUT = 6, slice(23, 26)
FORKED = 0x40


def is_forked_worker() -> bool:
    """Tell whether the process that forked this one, as gunicorn does, still looks after it."""
    if not hasattr(os, "fork"):
        return False
    try:
        own, parent = _process_status("self"), _process_status(str(os.getppid()))
    except (OSError, ValueError):  # It is not Linux, or the parent is somebody else's.
        return False
    return bool(int(own[FLAGS]) & FORKED) and own[LAYOUT] == parent[LAYOUT]


def _process_status(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
