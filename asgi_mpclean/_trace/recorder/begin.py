"""Begins the notes of a process, and ends them."""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Undo = Callable[[], None]
    Watch = Callable[[ModuleType], list[Undo]]
    WhenImported = Callable[[str, Callable[[ModuleType], object]], object]


def begin(when_imported: WhenImported, *, in_tracker: bool = False) -> list[Undo]:
    """Watch what this process makes, starts and ends.

    Args:
        when_imported: Gives a module to a function as soon as it is imported.
        in_tracker: This is the resource tracker, where nothing is of interest but what it removes.

    Returns:
        Functions that undo it; those for modules that are imported later are added then.
    """
    if in_tracker:
        when_imported("multiprocessing.resource_tracker", _watch_tracker)
        return []
    undo: list[Undo] = []
    when_imported("multiprocessing", lambda _module: _watch_all(when_imported, undo))
    return undo


def _watch_tracker(module: ModuleType) -> None:
    from .tracker import watch_tracker  # noqa: PLC0415 - multiprocessing is not there before

    watch_tracker(module)


def _watch_all(when_imported: WhenImported, undo: list[Undo]) -> None:
    from . import children, endings, making, tracker  # noqa: PLC0415 - multiprocessing is not there before

    watches: dict[str, list[Watch]] = {
        "multiprocessing.synchronize": [making.watch_semaphores],
        "multiprocessing.shared_memory": [making.watch_memory],
        "multiprocessing.process": [children.watch_processes],
        "multiprocessing.popen_fork": [children.watch_statuses],
        "multiprocessing.popen_forkserver": [children.watch_statuses],
        "multiprocessing.popen_spawn_win32": [children.watch_statuses],
        "multiprocessing.util": [endings.watch_finalizers],
        "multiprocessing.resource_tracker": [tracker.watch_registering],
        "subprocess": [children.watch_subprocesses],
    }
    for name in making.COMPOSITES:
        watches.setdefault(name, []).append(making.watch_composites)
    undo += endings.watch_exit()

    def begin_watch(watch: Watch, module: ModuleType) -> None:
        undo.extend(watch(module))

    for name, functions in watches.items():
        for watch in functions:
            when_imported(name, functools.partial(begin_watch, watch))
