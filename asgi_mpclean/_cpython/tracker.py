"""The resource tracker: what it must hear of what has been unlinked without it."""

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
    """Remember which resource tracker hears of what is made now."""
    pid = getattr(getattr(_tracker, "_resource_tracker", None), "_pid", None)
    if pid is not None:
        _trackers.pids.add(pid)


def unregister(names: list[str], kind: str, *, known: bool = True) -> None:
    """Tell the resource tracker that nothing of these names is left to clean up.

    Args:
        names: What it is about.
        kind: What that is, in the tracker's own words.
        known: False if somebody may have told it already.
    """
    note_tracker()
    fd = getattr(getattr(_tracker, "_resource_tracker", None), "_fd", None)
    if Feature.TRACKER not in AVAILABLE:
        for name in names:
            with contextlib.suppress(Exception):  # Its errors differ from version to version.
                multiprocessing.resource_tracker.unregister(name, kind)
        return
    if fd is None:
        return
    # A tracker prints a traceback about what it does not know; to know a thing twice is harmless.
    known = known and len(_trackers.pids) <= 1
    with contextlib.suppress(OSError):  # A tracker that is gone has nothing to forget.
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
