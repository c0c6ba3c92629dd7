"""A file that tells `asgi-mpclean check`, from outside, what happened inside."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asgi_mpclean._report import CleanupReport

# The file, if a check is running. Each process of the app appends to it.
_FILE = os.environ.get("ASGI_MPCLEAN_JOURNAL", "")


def is_written() -> bool:
    """Tell whether a check is running."""
    return bool(_FILE)


def trace(event: str, report: CleanupReport | None = None) -> None:
    """Append an event as a line of JSON, with pid and `time.monotonic()`, if a check is running."""
    if not _FILE:
        return
    fields: dict[str, Any] = {"event": event, "pid": os.getpid(), "at": time.monotonic()}
    if report is not None:
        fields["report"] = report.to_dict()
    # The app must end even if this cannot be written.
    with contextlib.suppress(OSError):
        descriptor = os.open(_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, json.dumps(fields).encode() + b"\n")
        finally:
            os.close(descriptor)
