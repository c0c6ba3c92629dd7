"""What the threads of this process are doing."""

from __future__ import annotations

import _thread
import sys
import threading
from typing import TYPE_CHECKING

from .features import AVAILABLE, Feature

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


def frames_of_other_threads() -> Iterator[tuple[int, FrameType]]:
    """Yield the identifier and the innermost frame of each thread but this one.

    Without a GIL the threads go on meanwhile. Since 3.14 a frame may be asked for its code and its
    caller all the same, but not for its variables while its own code runs. Who asks for these here
    does so of a frame that waits in a call, and for `self`, which is set once and kept by others.

    A function that holds its own frame among the others makes a cycle of them. When that is
    collected, frames of running threads are cleared: 3.12.1 crashes, newer versions warn of a
    BytesIO. So do two threads that look at each other at the same time, whose frames stay with the
    names for what they have seen last: who asks forgets it.
    """
    if Feature.FRAMES in AVAILABLE:
        frames = sys._current_frames()
        del frames[_thread.get_ident()]
        yield from frames.items()


def is_inside(frame: FrameType | None, code: object) -> bool:
    """Tell whether a thread, of which this is the frame, runs that code, or what it has called."""
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def waits_for_threads(frame: FrameType | None) -> bool:
    """Tell whether the main thread, of which this is the frame, has ended and waits for others."""
    if Feature.JOINING not in AVAILABLE:
        return False
    return is_inside(frame, threading._shutdown.__code__)  # type: ignore[attr-defined]
