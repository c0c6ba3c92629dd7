"""Which processes are started where, and how those that were waited for have ended."""

from __future__ import annotations

import functools
import os

from . import journal, names, sites
from .making import current_composite, site_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from .sites import Site

started: dict[int, Site | None] = {}
"""Where the children of this process were started, by pid."""

_OF_FILE = {"process.py": "ProcessPoolExecutor", "pool.py": "Pool", "managers.py": "Manager"}


def watch_processes(module: ModuleType) -> list[Callable[[], None]]:
    """Note each start of a `multiprocessing.Process`."""
    base = module.BaseProcess
    found = base.start

    @functools.wraps(found)
    def start(self: Any) -> None:
        found(self)
        journal.guarded(_note_start, self, names.getframe(1))

    base.start = start
    return [functools.partial(_put_back, base, "start", start, found)]


def watch_statuses(module: ModuleType) -> list[Callable[[], None]]:
    """Note how a child has ended, when this process comes to know it."""
    found = module.Popen.poll

    @functools.wraps(found)
    def poll(self: Any, *args: Any, **kwargs: Any) -> int | None:
        before = self.returncode
        status: int | None = found(self, *args, **kwargs)
        if before is None and status is not None:
            started.pop(self.pid, None)
            journal.write("ended", self.pid, status)
        return status

    module.Popen.poll = poll
    return [functools.partial(_put_back, module.Popen, "poll", poll, found)]


def watch_subprocesses(module: ModuleType) -> list[Callable[[], None]]:
    """Note each `subprocess.Popen`: a Python that is not reached leaves no other trace."""
    found = module.Popen.__init__

    @functools.wraps(found)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - stands for it
        found(self, *args, **kwargs)
        journal.guarded(_note_command, self, names.getframe(1))

    module.Popen.__init__ = __init__
    return [functools.partial(_put_back, module.Popen, "__init__", __init__, found)]


def _note_start(process: Any, frame: Any) -> None:
    site, last, _ = sites.find(frame)
    started[process.pid] = site
    fields = (process.name, _started_by(last), "daemon" if process.daemon else "")
    journal.write("child", process.pid, site_number(site), *map(journal.escape, fields))


def _note_command(popen: Any, frame: Any) -> None:
    site, *_ = sites.find(frame)
    words = popen.args if isinstance(popen.args, (list, tuple)) else [popen.args]
    command = " ".join(map(os.fsdecode, words))
    journal.write("command", popen.pid, site_number(site), journal.escape(command))


def _started_by(last: Any) -> str:
    """Return what of multiprocessing has started a process, empty for the program itself."""
    composite = current_composite()
    if composite is not None:
        return composite.kind
    return _OF_FILE.get(os.path.basename(last.f_code.co_filename), "") if last is not None else ""


def _put_back(owner: Any, name: str, changed: object, found: object) -> None:
    if getattr(owner, name) is changed:  # Or somebody else has wrapped it since.
        setattr(owner, name, found)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=started.clear)
