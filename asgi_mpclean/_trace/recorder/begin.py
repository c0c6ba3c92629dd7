"""Begins the notes of a process, and ends them."""

from __future__ import annotations

import functools
import sys

from . import journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Undo = Callable[[], None]
    Watch = Callable[[ModuleType], list[Undo]]
    WhenImported = Callable[[str, Callable[[ModuleType], object]], object]


ROOTS = ("multiprocessing", "multiprocess")
"""The packages that are watched: that of the standard library, and its copy that pickles more."""

FOREIGN = (
    "loky.backend.resource_tracker",
    "joblib.externals.loky.backend.resource_tracker",
    "billiard.synchronize",
)
"""Modules of packages that make and track semaphores in ways of their own, which are not seen."""


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
    for root in ROOTS:
        if in_tracker:
            when_imported(f"{root}.resource_tracker", _watch_tracker)
        else:
            when_imported(root, functools.partial(_watch_all, when_imported, session))
    if journal.is_on():
        for name in FOREIGN:
            when_imported(name, _note_foreign)
    return session


def _watch_tracker(module: ModuleType) -> None:
    from .tracker import watch_tracker  # noqa: PLC0415 - multiprocessing is not there before

    watch_tracker(module)


def _note_foreign(module: ModuleType) -> None:
    journal.write("foreign", module.__name__)


def _watch_all(when_imported: WhenImported, session: Session, module: ModuleType) -> None:
    from . import children, endings, making, sites, tracker  # noqa: PLC0415 - the same

    root = module.__name__
    sites.add_inside(module)
    watches: list[tuple[str, Watch]] = [
        (f"{root}.synchronize", making.watch_semaphores),
        (f"{root}.synchronize", making.watch_composites),
        (f"{root}.queues", making.watch_composites),
        (f"{root}.pool", making.watch_composites),
        (f"{root}.shared_memory", making.watch_memory),
        (f"{root}.process", children.watch_processes),
        (f"{root}.popen_fork", children.watch_statuses),
        (f"{root}.popen_forkserver", children.watch_statuses),
        (f"{root}.popen_spawn_win32", children.watch_statuses),
    ]
    if root == ROOTS[0]:
        watches.append(("concurrent.futures.process", making.watch_composites))
    if journal.is_on():  # What only a journal is for.
        watches.append((f"{root}.util", endings.watch_finalizers))
        watches.append((f"{root}.resource_tracker", tracker.watch_registering))
        if root == ROOTS[0] or not sys.modules.get(ROOTS[0]):
            watches.append(("subprocess", children.watch_subprocesses))
            session.undo += endings.watch_exit()
    for name, watch in watches:
        when_imported(name, functools.partial(session.begin, watch))
