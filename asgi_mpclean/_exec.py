"""Replacing the process, clean."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, NoReturn

from . import _cpython, _shutdown

if TYPE_CHECKING:
    from collections.abc import Sequence

# The time (seconds) that the resource tracker and the fork server may take to end.
HELPERS_TIMEOUT = 1.0


def execv(path: str, args: Sequence[str]) -> NoReturn:
    """Clean up, stop multiprocessing's helper processes, and `os.execv`.

    Args:
        path: The program.
        args: Its arguments, the first being its name.

    Raises:
        ValueError: If `args` is empty.
        FileNotFoundError: If there is no such program; nothing has been cleaned up then.
        PermissionError: If it cannot be executed; nothing has been cleaned up then.
    """
    if not args:
        msg = "args must not be empty: the first is the program's name"
        raise ValueError(msg)
    if not os.path.exists(path):
        raise FileNotFoundError(2, "no such program; nothing was cleaned up", path)
    if os.path.isdir(path) or shutil.which(os.path.abspath(path)) is None:
        raise PermissionError(13, "cannot be executed; nothing was cleaned up", path)
    _shutdown.clean_up(None, trigger="execv", discover=True, going_away=True)
    if not _shutdown.DISABLED:
        _cpython.stop_helpers(HELPERS_TIMEOUT)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os.execv(path, list(args))  # noqa: S606 - what this function is for
