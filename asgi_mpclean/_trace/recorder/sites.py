"""Where in the program something is made: the first line outside multiprocessing."""

from __future__ import annotations

import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Site = tuple[str, int, str]
    """File, line and function."""

_LIBRARY = os.path.dirname(os.__file__)
_RECORDER = os.path.dirname(os.path.abspath(__file__))
# The modules of this library have their folders in the package's; an app may have its own checkout.
_OWN = f"{os.sep}asgi_mpclean{os.sep}_"
# Threads of multiprocessing's own, such as a pool's, have no line of the program below them.
_INSIDE = (
    os.path.join(_LIBRARY, "multiprocessing", ""),
    os.path.join(_LIBRARY, "concurrent", "futures", ""),
    os.path.join(_RECORDER, ""),
    threading.__file__,
    os.path.join(_LIBRARY, "subprocess.py"),
)

_known: dict[str, bool] = {}


def find(frame: Any) -> tuple[Site | None, Any]:
    """Walk out of multiprocessing.

    Args:
        frame: Where to begin.

    Returns:
        The first line outside, None if there is none; and the last code inside, None if the frame
        is outside already.
    """
    last = None
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        inside = _known.get(file)
        if inside is None:
            inside = _known[file] = _is_inside(file)
        if not inside:
            return (file, frame.f_lineno, code.co_name), last
        last = code
        frame = frame.f_back
    return None, last


def _is_inside(file: str) -> bool:
    return file.startswith(_INSIDE) or _OWN in file
