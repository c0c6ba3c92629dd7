"""Where in the program something is made: the first line outside multiprocessing."""

from __future__ import annotations

import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    Site = tuple[str, int, str]
    """File, line and function."""

_LIBRARY = os.path.dirname(os.__file__)
_RECORDER = os.path.dirname(os.path.abspath(__file__))
# The modules of this library have their folders in the package's; an app may have its own checkout.
_OWN = f"{os.sep}asgi_mpclean{os.sep}_"
# Threads of multiprocessing's own, such as a pool's, have no line of the program below them.
_INSIDE: tuple[str, ...] = (
    os.path.join(_LIBRARY, "multiprocessing", ""),
    os.path.join(_LIBRARY, "concurrent", "futures", ""),
    os.path.join(_RECORDER, ""),
    threading.__file__,
    os.path.join(_LIBRARY, "subprocess.py"),
    os.__file__,
    "<frozen os>",  # `os.execlp` and the like
)


def add_inside(package: ModuleType) -> None:
    """Count the files of a package as those of multiprocessing."""
    global _INSIDE  # noqa: PLW0603 - `str.startswith` takes a tuple
    _INSIDE += tuple(os.path.join(path, "") for path in package.__path__)
    inside.clear()


class _Inside(dict[str, bool]):
    """Which files are of multiprocessing, or of this library; each is looked at once."""

    def __missing__(self, file: str) -> bool:
        found = self[file] = file.startswith(_INSIDE) or _OWN in file
        return found


inside = _Inside()


def find(frame: Any) -> tuple[Site | None, Any, Any]:
    """Walk out of multiprocessing.

    Args:
        frame: Where to begin.

    Returns:
        The first line outside, None if there is none; the last frame inside, None if the frame is
        outside already; and the first frame outside.
    """
    last = None
    while frame is not None:
        code = frame.f_code
        if not inside[code.co_filename]:
            return (code.co_filename, frame.f_lineno, code.co_name), last, frame
        last = frame
        frame = frame.f_back
    return None, last, None
