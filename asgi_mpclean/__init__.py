"""ASGI servers that use multiprocessing exit clean.

`MPCleanLifespan` wraps an app, `mpclean_lifespan` is for `FastAPI(lifespan=...)`; `register` tells
what to drain and close when the server stops.
"""

from __future__ import annotations

from ._asking import work_off
from ._exec import (
    execl,
    execle,
    execlp,
    execlpe,
    execv,
    execve,
    execvp,
    execvpe,
    guard_exec,
)
from ._kinds import add_kind
from ._lifespan import MPCleanLifespan, attach, mpclean_lifespan
from ._process import Process, worker_init
from ._registry import Registry, default_registry
from ._report import CleanupReport, ResourceReport
from ._restart import restart

register = default_registry.register
clean = default_registry.clean

__all__ = [
    "CleanupReport",
    "MPCleanLifespan",
    "Process",
    "Registry",
    "ResourceReport",
    "add_kind",
    "attach",
    "clean",
    "execl",
    "execle",
    "execlp",
    "execlpe",
    "execv",
    "execve",
    "execvp",
    "execvpe",
    "guard_exec",
    "mpclean_lifespan",
    "register",
    "restart",
    "work_off",
    "worker_init",
]
