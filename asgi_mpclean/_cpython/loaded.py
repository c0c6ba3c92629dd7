"""Modules of the standard library that the program may have imported, or not.

There are no objects of a module that nobody has imported. So modules are looked up in
`sys.modules`, which spares the program imports that it has no use for.
"""

from __future__ import annotations

import sys
from typing import Any


class Module:
    """A module, once somebody has imported it; false until then.

    Args:
        name: Its full name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __bool__(self) -> bool:
        return self._name in sys.modules

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules[self._name], name)


dill_pools = Module("multiprocess.pool")
executors = Module("concurrent.futures.process")
forkserver = Module("multiprocessing.forkserver")
managers = Module("multiprocessing.managers")
pools = Module("multiprocessing.pool")
queues = Module("multiprocessing.queues")
shared_memory = Module("multiprocessing.shared_memory")
synchronize = Module("multiprocessing.synchronize")
thread_pools = Module("concurrent.futures.thread")
tracker = Module("multiprocessing.resource_tracker")


def find(path: str) -> Any | None:
    """Return a module, or a class of one as `module:Class`; None if nobody has imported it."""
    module, _, name = path.partition(":")
    found = sys.modules.get(module)
    return getattr(found, name, None) if found is not None and name else found
