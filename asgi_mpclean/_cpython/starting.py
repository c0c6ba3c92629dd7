"""Starting a process while this one goes away: refused, and without a word to who does it.

A supervisor of the app starts a worker anew when it has died, whoever has ended it. At the end of
the process that would leave an orphan, and semaphores that it has not opened yet. An exception in
its thread would be printed, where nothing was printed without us.
"""

from __future__ import annotations

import _thread
import multiprocessing.process
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from .features import AVAILABLE, Feature
from .fork import PerProcess
from .frames import frames_of_other_threads
from .making import is_in_start
from .process import STARTS

if TYPE_CHECKING:
    from types import FrameType

_Base: Any = multiprocessing.process.BaseProcess
_START: Any = _Base.start
# What starts workers with a lock of its own held, and is ended in its own way. Windows has other
# separators.
_GROUPS = tuple(
    name.replace("/", sep)
    for sep in "/\\"
    for name in (
        "multiprocessing/pool.py",
        "multiprocessing/managers.py",
        "concurrent/futures/process.py",
        "loky/process_executor.py",
    )
)
# What hands an exception of a thread to a task that waits for it.
_BRIDGES = tuple(
    name.replace("/", sep) for sep in "/\\" for name in ("concurrent/futures/thread.py", "anyio/")
)
# How often (seconds) it is looked whether a thread that had begun has started its process.
LOOK_SECONDS = 0.002


class _Refusal(PerProcess):
    """What those threads wait for that must not start a process any more."""

    gate: _thread.LockType | None = None

    def reset(self, *, forked: bool) -> None:
        """Let everybody start again: a child by fork may have workers of its own."""
        self.gate = None
        if forked:
            _lift()


def _lift() -> None:
    STARTS.refuse = None
    _Base.start = _START


_refusal = _Refusal()


def refuse_starts(until: float) -> None:
    """Let nothing start a process any more but pools and executors, and the main thread by itself.

    Waits for those who have begun to.

    Args:
        until: `time.monotonic()` at which to give that up.
    """
    if Feature.CHILDREN not in AVAILABLE or Feature.FRAMES not in AVAILABLE:
        return
    if _refusal.gate is None:
        _refusal.gate = gate = _thread.allocate_lock()
        gate.acquire()
        STARTS.refuse = _refuse
        _Base.start = _start
    while time.monotonic() < until and _somebody_starts():
        time.sleep(LOOK_SECONDS)


def allow_starts() -> None:
    """Let everybody start processes again, as this one did not go away after all."""
    gate, _refusal.gate = _refusal.gate, None
    _lift()
    if gate is not None:
        gate.release()


def _somebody_starts() -> bool:
    return any(is_in_start(frame) for _, frame in frames_of_other_threads())


def _start(process: Any) -> None:
    """Be `BaseProcess.start` meanwhile."""
    _refuse()
    _START(process)


def _refuse() -> None:
    """End the caller's attempt in the way that is not printed where it is; or let it pass."""
    files = _files(sys._getframe(1))
    if any(file.endswith(_GROUPS) for file in files):
        return
    asyncio: Any = sys.modules.get("asyncio")
    bridged = any(bridge in file for file in files for bridge in _BRIDGES)
    if asyncio is not None and (bridged or _is_in_task(asyncio)):
        raise asyncio.CancelledError
    thread = threading.current_thread()
    if thread is threading.main_thread():
        return
    if not thread.daemon:
        raise SystemExit
    gate = _refusal.gate
    if gate is not None:
        with gate:  # It is released when processes may be started again, if ever.
            pass


def _is_in_task(asyncio: Any) -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # There is no event loop in this thread.
        return False


def _files(frame: FrameType | None) -> list[str]:
    files = []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    return files
