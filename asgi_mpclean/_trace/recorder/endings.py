"""How a process ends: by itself, by `os._exit`, by an exec; and what its exit has to wait for.

At the exit, before multiprocessing ends what it has to, the queues of this process that hold unread
items are noted, and the children, feeders and threads that the exit will wait for. A process that a
signal kills can note nothing: its parent, or who started the command, knows its status.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
import time

from . import children, journal, names, sites
from .making import composites, site_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from .making import Origin

FIRST = 1_000_000
"""The priority of a finalizer that multiprocessing runs before all others."""

EXECS = ("execv", "execve")
"""All other functions of `os` that execute call one of these."""


class _Noted:
    """What this process has noted of its end."""

    resources = False
    threads = False


def watch_exit() -> list[Callable[[], None]]:
    """Note the end of the exit, an `os._exit` and an exec."""
    atexit.register(note_exit)  # Loaded before multiprocessing, it is called after its functions.
    names.before_threads_are_joined(note_threads)
    wrapped = [_wrap(name, _executing) for name in EXECS if hasattr(os, name)]
    return [*wrapped, _wrap("_exit", _leaving), functools.partial(atexit.unregister, note_exit)]


def watch_finalizers(util: ModuleType) -> list[Callable[[], None]]:
    """Note what there is when multiprocessing begins its exit, here and in processes by fork."""

    def watch(_owner: object) -> None:
        finalizer.append(util.Finalize(None, note_resources, exitpriority=FIRST))

    finalizer: list[Any] = []
    watch(None)
    util.register_after_fork(watch, watch)
    return [lambda: finalizer[-1].cancel()]  # noqa: PLW0108 - the last one by then


def note_resources() -> None:
    """Note unread queues, and the children and feeders that the exit will wait for."""
    if not _Noted.resources:
        _Noted.resources = True
        journal.guarded(_note_resources)


def _note_resources() -> None:
    _note_unread()
    for origin, queue in _queues():
        if names.feeds(queue):
            _note_exiting("feeder", origin.number, names.backlog(queue))
    for process in names.children():
        if not process.daemon and process.pid is not None:
            site = children.started.get(process.pid)
            _note_exiting("child", site_number(site), process.pid)


def _queues() -> list[tuple[Origin, Any]]:
    made = [*composites.values()]
    found = [(origin, origin.reference()) for origin in made if origin.reference is not None]
    return [(origin, queue) for origin, queue in found if hasattr(queue, "get")]


def _note_unread() -> None:
    for origin, queue in _queues():
        count = names.unread(queue)
        if count != origin.unread:
            origin.unread = count
            journal.write("unread", origin.number, count)


def note_threads() -> None:
    """Note the threads that the exit will wait for."""
    if not _Noted.threads:
        _Noted.threads = True
        journal.guarded(_note_threads)


def _note_threads() -> None:
    own = (threading.main_thread(), threading.current_thread())
    for thread in threading.enumerate():
        if thread.daemon or thread in own:
            continue
        site, *_ = sites.find(names.frame_of(thread.ident))
        _note_exiting("thread", site_number(site), journal.escape(thread.name))


def _note_exiting(what: str, *fields: object) -> None:
    journal.write("waits", what, time.time_ns(), *fields)


def note_exit() -> None:
    """Note that the exit is done: what comes now is the interpreter's end."""
    journal.guarded(_note_unread)  # Workers may have read on, up to their end.
    if journal.has_begun():
        journal.write("exit", time.time_ns())


def _wrap(
    name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[[], None]:
    found = getattr(os, name)
    changed = functools.wraps(found)(wrapper(found))
    setattr(os, name, changed)

    def undo() -> None:
        if getattr(os, name) is changed:  # Or somebody else has wrapped it since.
            setattr(os, name, found)

    return undo


def _leaving(found: Callable[..., Any]) -> Callable[..., Any]:
    def _exit(*args: Any, **kwargs: Any) -> Any:
        journal.guarded(_note_leaving, names.getframe(1), *args)
        return found(*args, **kwargs)

    return _exit


def _note_leaving(frame: Any, status: object = 0) -> None:
    if not journal.has_begun() and not composites:
        return
    site, last, _ = sites.find(frame)
    if last is not None:  # A worker by fork ends so, its exit done.
        note_exit()
        return
    note_resources()
    journal.write("leave", status, site_number(site))


def _executing(found: Callable[..., Any]) -> Callable[..., Any]:
    def execute(path: Any, *args: Any, **kwargs: Any) -> Any:
        journal.guarded(_note_executing, names.getframe(1), path)
        try:
            return found(path, *args, **kwargs)
        finally:
            journal.write("stays")  # Or it would not come here.

    return execute


def _note_executing(frame: Any, path: Any) -> None:
    if journal.has_begun() or composites:
        note_resources()
        site, *_ = sites.find(frame)
        journal.write("exec", site_number(site), journal.escape(os.fsdecode(path)))


def _after_fork() -> None:
    _Noted.resources = _Noted.threads = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
