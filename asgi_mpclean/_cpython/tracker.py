"""The resource tracker: telling it about what has been unlinked in this process."""

from __future__ import annotations

import contextlib
import multiprocessing.resource_tracker
import os
import select
from typing import Any

from .features import AVAILABLE, Feature
from .fork import PerProcess

_tracker: Any = multiprocessing.resource_tracker

# POSIX promises that a write of at most this many bytes to a pipe is not split.
ATOMIC_WRITE_BYTES = getattr(select, "PIPE_BUF", 512)


class _Trackers(PerProcess):
    """The trackers that this process has had. A new one knows nothing of what the old one knew."""

    pids: set[int]

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        self.pids = set()


_trackers = _Trackers()


def note_tracker() -> None:
    """Remember the present resource tracker, which is told of all resources made now."""
    pid = getattr(getattr(_tracker, "_resource_tracker", None), "_pid", None)
    if pid is not None:
        _trackers.pids.add(pid)


def unregister(names: list[str], kind: str, *, known: bool = True) -> None:
    """Tell the resource tracker that nothing of these names is left to clean up.

    Args:
        names: Their names.
        kind: The tracker's word for their kind, such as "semaphore".
        known: False if the tracker may have been told already.
    """
    note_tracker()
    tracker = getattr(_tracker, "_resource_tracker", None)
    fd = getattr(tracker, "_fd", None)
    if Feature.TRACKER not in AVAILABLE:
        for name in names:
            with contextlib.suppress(Exception):  # Its errors differ from version to version.
                multiprocessing.resource_tracker.unregister(name, kind)
        return
    # PyPy tells a new tracker again of all that it believes to be registered.
    believed: dict[str, str] = getattr(tracker, "_registered", {})
    for name in names:
        believed.pop(name, None)
    if fd is None:
        return
    # A tracker prints a traceback for a name that it does not know; to register twice is harmless.
    known = known and len(_trackers.pids) <= 1
    with contextlib.suppress(OSError):  # The tracker is gone.
        if not known:
            _tell(fd, "REGISTER", names, kind)
        _tell(fd, "UNREGISTER", names, kind)


def _tell(fd: int, command: str, names: list[str], kind: str) -> None:
    """Write one line for each name, as many as are not split by the pipe at once."""
    if not names:
        return
    lines = f"{command}:" + f":{kind}\n{command}:".join(names) + f":{kind}\n"
    data = lines.encode()
    if len(data) <= ATOMIC_WRITE_BYTES or len(names) == 1:
        os.write(fd, data)
        return
    half = len(names) // 2
    _tell(fd, command, names[:half], kind)
    _tell(fd, command, names[half:], kind)
