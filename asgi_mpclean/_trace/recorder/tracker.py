"""What works in the resource tracker: it knows for certain what leaked.

Each named semaphore and block of shared memory is registered with it when it is made, and taken off
when it is released. What is still there when all processes have ended has leaked; it is removed
then, by a function for its kind.
"""

from __future__ import annotations

import functools

from . import journal, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def watch_tracker(resource_tracker: ModuleType) -> None:
    """Note what the resource tracker removes."""
    functions = names.clean_up_functions(resource_tracker)
    for kind, found in [*functions.items()]:
        functions[kind] = _noting(kind, found)
    journal.write("tracker", len(functions))


def _noting(kind: str, found: Callable[[str], object]) -> Callable[[str], object]:
    @functools.wraps(found)
    def remove(name: str) -> object:
        journal.guarded(journal.write, "leaked", kind, journal.escape(name))
        return found(name)

    return remove
