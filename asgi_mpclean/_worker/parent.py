"""A worker that ends with its parent.

A server that is killed by SIGKILL runs no code, so its workers have to notice for themselves. They
do by a pipe of which only the parent has the other end; multiprocessing has one for each child.
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from typing import Any

# How often (seconds) a child by fork looks for its parent: its siblings inherit the pipe, so that
# the pipe alone does not tell.
LOOK_FOR_PARENT_SECONDS = 0.2
# How long (seconds) a worker whose parent is dead may take for its `finally` blocks.
GRACE_SECONDS = 0.5


def end_with_parent(sentinel: Any, parent: int | None) -> None:
    """Let this process end by SIGTERM when its parent dies, and by SIGKILL soon after.

    Args:
        sentinel: The handle that becomes ready when the parent is gone.
        parent: Its pid. The system tells of its death as well where it forked this process, or
            spawned it; the fork server does so in its place.
    """
    if sentinel is not None:
        arguments = (sentinel, parent if parent == os.getppid() else None)
        thread = threading.Thread(
            target=_wait_for_parent, args=arguments, name="asgi_mpclean-parent", daemon=True
        )
        with contextlib.suppress(RuntimeError):  # There are too many: it works all the same.
            thread.start()


def _wait_for_parent(sentinel: Any, parent: int | None) -> None:
    while not multiprocessing.connection.wait(
        [sentinel], LOOK_FOR_PARENT_SECONDS if parent else None
    ):
        if os.getppid() != parent:
            break
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGTERM)  # There `os.kill` would end it at once.
    else:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
