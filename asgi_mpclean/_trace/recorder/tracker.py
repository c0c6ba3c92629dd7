"""The resource tracker, which knows for certain what leaked.

Each named semaphore and block of shared memory is registered with it when it is made, and taken off
when it is released. What is still there when all processes have ended has leaked; it is removed
then, by a function for its kind.
"""

from __future__ import annotations

import atexit
import functools
import time

from . import journal, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


def watch_tracker(resource_tracker: ModuleType) -> None:
    """Note what the resource tracker removes."""
    functions = names.clean_up_functions(resource_tracker)
    for kind, found in [*functions.items()]:
        functions[kind] = _noting(kind, found)
    journal.write("tracker", len(functions))
    atexit.register(_note_exit)


def _note_exit() -> None:
    """Note that all has been removed; a tracker that was killed has not come so far."""
    journal.write("exit", time.time_ns())


def watch_registering(resource_tracker: Any) -> list[Callable[[], None]]:
    """Note, once, that this process registers something: then the tracker has to be there too."""
    found = resource_tracker.register

    def undo() -> None:
        if resource_tracker.register is register:  # Or somebody else has wrapped it since.
            resource_tracker.register = found

    @functools.wraps(found)
    def register(*args: Any, **kwargs: Any) -> Any:
        undo()
        journal.write("registers")
        return found(*args, **kwargs)

    resource_tracker.register = register
    return [undo]


def _noting(kind: str, found: Callable[[str], object]) -> Callable[[str], object]:
    @functools.wraps(found)
    def remove(name: str) -> object:
        journal.guarded(journal.write, "leaked", kind, journal.escape(name))
        return found(name)

    return remove
