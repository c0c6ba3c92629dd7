"""ASGI servers that use multiprocessing exit clean.

`MPCleanLifespan` wraps an app, `mpclean_lifespan` is for `FastAPI(lifespan=...)`; `register` tells
what to drain and close when the server stops.

The way of one queue through the rooms of this package, each of which knows only those below it:

    jobs = register(Queue(), on_item=save)    _registry   keeps an Entry of it
    the lifespan ends, or a signal comes      _asgi, _shutdown.signals
    one clean-up begins, for all triggers     _shutdown.triggers, with a Request
    what is done when, until when             _shutdown.plan, .workers
    what is done to a queue                   _resources.queue takes its lock and backlog
    its pipe, split into pickled items        _items.pipe
    each item, unpickled, to save()           _items.delivery, in a thread of _items.runner
    its semaphores, unlinked; its feeder      _cpython, the only room for private names
    how many items, and how it ended          _report, to the log and to on_report
"""

from __future__ import annotations

import importlib
import sys

if sys.platform == "darwin":  # So that it is told of each fork from now on; Linux tells by itself.
    from ._cpython import fork as fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._asgi.lifespan import mpclean_lifespan
    from ._asgi.wrapper import MPCleanLifespan, attach
    from ._exec.exec import (
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
    from ._exec.restart import restart
    from ._registry.default import clean, register
    from ._registry.process import Process
    from ._registry.registry import Registry
    from ._report import CleanupReport, ResourceReport
    from ._resources.asking import work_off
    from ._resources.kinds import add_kind
    from ._trace.held import Leak, leaks, trace
    from ._worker.signals import worker_init

__all__ = [
    "CleanupReport",
    "Leak",
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
    "leaks",
    "mpclean_lifespan",
    "register",
    "restart",
    "trace",
    "work_off",
    "worker_init",
]

# Where each name is defined. A module is loaded by the first use of a name of it.
_MODULES = {
    "_asgi.lifespan": "mpclean_lifespan",
    "_asgi.wrapper": "MPCleanLifespan attach",
    "_exec.exec": "execl execle execlp execlpe execv execve execvp execvpe guard_exec",
    "_exec.restart": "restart",
    "_registry.default": "Process clean default_registry register",
    "_registry.registry": "Registry",
    "_report": "CleanupReport ResourceReport",
    "_resources.asking": "work_off",
    "_resources.kinds": "add_kind",
    "_trace.held": "Leak leaks trace",
    "_worker.signals": "worker_init",
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names.split()}


if not TYPE_CHECKING:  # Or type checkers would take any name for one of ours.

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value: object = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
