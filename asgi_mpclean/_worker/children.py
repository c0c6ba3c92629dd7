"""The children of a worker that was told to end: it ends them, rather than wait for them for ever.

Python's own end of a worker joins its children that are no daemons, and of an executor that is at
work it waits for the jobs.
"""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.groups import manager_process, pools_and_managers
from asgi_mpclean._cpython.pools import is_pool
from asgi_mpclean._cpython.relatives import loky_executors, shut_down_loky

if TYPE_CHECKING:
    from collections.abc import Iterable

# The time (seconds) between SIGTERM and SIGKILL for a child, as its parent does not get more.
GRACE_SECONDS = 0.3
# The time (seconds) that a killed child may take to be gone.
KILLED_SECONDS = 0.2
LOOK_SECONDS = 0.005


def end_own_children() -> None:
    """End the executors, the pools and the processes of this worker; managers end by themselves."""
    from asgi_mpclean._cpython.executors import freeze_executor, live_executors  # noqa: PLC0415 - costs a worker 10 ms that has none

    groups = pools_and_managers()
    for executor in live_executors():
        freeze_executor(executor)
    for executor in loky_executors():
        shut_down_loky(executor)
    servers = {id(manager_process(group)) for group in groups if not is_pool(group)}
    for pool in filter(is_pool, groups):
        pool.terminate()
    _end([child for child in multiprocessing.active_children() if id(child) not in servers])


def _end(children: Iterable[Any]) -> None:
    children = list(children)
    for child in children:
        child.terminate()
    until = time.monotonic() + GRACE_SECONDS
    while any(child.exitcode is None for child in children) and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    for child in children:
        child.kill()
    for child in children:
        child.join(KILLED_SECONDS)
