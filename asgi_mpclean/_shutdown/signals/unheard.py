"""Signals that came while the handler of another stood there, which did not hear them.

uvloop's handler forgets what comes while its loop does not run; then no handler of ours is called
either. But Python writes the number of each signal into the descriptor of `signal.set_wakeup_fd`,
whoever handles it. An event loop puts its own in that place while it runs, so that what is found
in ours is what no loop has heard.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket

from asgi_mpclean._shutdown.state import STATE

_ours: tuple[socket.socket, socket.socket] | None = None


def listen() -> None:
    """Have the numbers of signals written down, unless somebody else has them written.

    The sockets stay open until the process ends: a loop that ends gives Python back the descriptor
    that it found, which must be there then.
    """
    global _ours  # noqa: PLW0603 - there is one such descriptor in a process
    if _ours is not None:
        return
    read, write = socket.socketpair()
    read.settimeout(0)
    write.settimeout(0)
    found = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    if found == -1:
        _ours = read, write
        STATE.wakeup_fds.add(write.fileno())
    else:
        signal.set_wakeup_fd(found)
        read.close()
        write.close()


def take() -> set[int]:
    """Return the signals that have come since the last time, and forget them."""
    found: set[int] = set()
    with contextlib.suppress(BlockingIOError):
        while _ours is not None and (numbers := _ours[0].recv(4096)):
            found.update(numbers)
    return found


def _leave() -> None:
    """In a forked child, leave alone what the parent listens to."""
    global _ours  # noqa: PLW0603
    if _ours is not None:
        found = signal.set_wakeup_fd(-1)
        if found not in {-1, _ours[1].fileno()}:
            signal.set_wakeup_fd(found)
        STATE.wakeup_fds.discard(_ours[1].fileno())
        for end in _ours:
            end.close()
        _ours = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)
