"""Begins the notes of a process, and ends them."""

from __future__ import annotations

import functools

from . import journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Undo = Callable[[], None]
    Watch = Callable[[ModuleType], list[Undo]]
    WhenImported = Callable[[str, Callable[[ModuleType], object]], object]


class Session:
    """From the beginning of the notes to their end."""

    def __init__(self) -> None:
        self.has_ended = False
        self.undo: list[Undo] = []

    def end(self) -> None:
        """Put back what was wrapped; what is known by then stays."""
        self.has_ended = True
        while self.undo:
            self.undo.pop()()

    def begin(self, watch: Watch, module: ModuleType) -> None:
        """Watch a module, which has just been imported."""
        if not self.has_ended:
            self.undo += watch(module)


def begin(when_imported: WhenImported, *, in_tracker: bool = False) -> Session:
    """Watch what this process makes, starts and ends.

    Args:
        when_imported: Gives a module to a function as soon as it is imported.
        in_tracker: This is the resource tracker, where nothing is of interest but what it removes.

    Returns:
        What can be ended.
    """
    session = Session()
    if in_tracker:
        when_imported("multiprocessing.resource_tracker", _watch_tracker)
    else:
        when_imported("multiprocessing", lambda _module: _watch_all(when_imported, session))
    return session


def _watch_tracker(module: ModuleType) -> None:
    from .tracker import watch_tracker  # noqa: PLC0415 - multiprocessing is not there before

    watch_tracker(module)


def _watch_all(when_imported: WhenImported, session: Session) -> None:
    from . import children, endings, making, tracker  # noqa: PLC0415 - the same

    watches: dict[str, list[Watch]] = {
        "multiprocessing.synchronize": [making.watch_semaphores],
        "multiprocessing.shared_memory": [making.watch_memory],
        "multiprocessing.process": [children.watch_processes],
        "multiprocessing.popen_fork": [children.watch_statuses],
        "multiprocessing.popen_forkserver": [children.watch_statuses],
        "multiprocessing.popen_spawn_win32": [children.watch_statuses],
    }
    for name in making.COMPOSITES:
        watches.setdefault(name, []).append(making.watch_composites)
    if journal.is_on():  # What only a journal is for.
        watches["multiprocessing.util"] = [endings.watch_finalizers]
        watches["multiprocessing.resource_tracker"] = [tracker.watch_registering]
        watches["subprocess"] = [children.watch_subprocesses]
        session.undo += endings.watch_exit()
    for name, functions in watches.items():
        for watch in functions:
            when_imported(name, functools.partial(session.begin, watch))
