"""Finding resources that nobody registered, and the variables that hold them."""

from __future__ import annotations

import logging
import multiprocessing
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.children import ended_children, is_child
from asgi_mpclean._cpython.discovery import UnreferencedQueue, belongs_to_executor, queues_made_here
from asgi_mpclean._cpython.executors import is_executor_starting, live_executors
from asgi_mpclean._cpython.groups import managed_queues, pools_and_managers
from asgi_mpclean._cpython.memory import shared_memory_made_here
from asgi_mpclean._cpython.relatives import children_of_relatives, loky_executors
from asgi_mpclean._resources.base import Entry, was_cleaned
from asgi_mpclean._resources.executor import EXECUTOR
from asgi_mpclean._resources.kinds import kind_of
from asgi_mpclean._resources.manager import ManagerCloser
from asgi_mpclean._resources.names import global_names, holder_names, traced_names
from asgi_mpclean._resources.queue import QUEUE
from asgi_mpclean._resources.relatives import LokyCloser
from asgi_mpclean._resources.worker import PROCESS
from asgi_mpclean._worker import tree

from .journal import is_written

if TYPE_CHECKING:
    from asgi_mpclean._report import ResourceReport
    from asgi_mpclean._resources.base import Closer

    from .closers import Closers

logger = logging.getLogger("asgi_mpclean")

# How long (seconds) an executor may take to begin, and how often it is looked.
BEGINNING_SECONDS = 0.5
BEGINNING_LOOK_SECONDS = 0.001

# What finds, apart from queues and processes, what nobody registered.
FINDERS = (
    managed_queues,
    pools_and_managers,
    live_executors,
    loky_executors,
    shared_memory_made_here,
)


def find_unregistered() -> list[object]:
    """Return the unregistered resources that cannot be found once the app has let go of them.

    The items of a queue that has been garbage-collected can be neither read nor counted. A block of
    shared memory stays in the system, and nothing in the process knows its name.
    """
    return [*queues_made_here(), *(thing for find in FINDERS for thing in find())]


def discover(closers: Closers) -> None:
    """Add all unregistered resources that this process made, except its child processes."""
    known = {id(entry.queue) for entry in closers.queues}
    for queue in queues_made_here():
        if id(queue) not in known and not belongs_to_executor(queue):
            _add(closers, queue)
    known = {id(closer.resource) for closer in closers.others}
    known |= {id(getattr(closer.resource, "shm", None)) for closer in closers.others}
    for find in FINDERS:
        for resource in find():
            if id(resource) not in known:
                _add(closers, resource)


def discover_executors(closers: Closers) -> list[Closer]:
    """Add the executors that are not known yet, as one begins with its first job; returns them."""
    before = {id(closer.resource) for closer in closers.others}
    for executor in [*live_executors(), *loky_executors()]:
        if id(executor) not in before:
            _add(closers, executor)
    return [closer for closer in closers.others if id(closer.resource) not in before]


def unregistered_executors(known: list[Entry]) -> list[Entry]:
    """Return entries of the executors that are in none of those that are known."""
    seen = {id(entry.resource) for entry in known}
    found = [e for e in live_executors() if id(e) not in seen and not was_cleaned(e)]
    return [
        Entry(executor, EXECUTOR, f"unregistered {number}", registered=False)
        for number, executor in enumerate(found, len(known) + 1)
    ]


def _add(closers: Closers, resource: Any) -> None:
    if was_cleaned(resource):
        return
    name = f"unregistered {len(closers.report.resources) + 1}"
    try:
        kind = QUEUE if isinstance(resource, UnreferencedQueue) else kind_of(resource)
    except TypeError:
        logger.debug("%r is left alone, as it is of no kind that is known", type(resource))
        return
    closers.add(Entry(resource, kind, name, registered=False))


def let_executors_begin() -> None:
    """Wait a moment until each executor that is being given its first job can be found."""
    until = time.monotonic() + BEGINNING_SECONDS
    while is_executor_starting() and time.monotonic() < until:
        time.sleep(BEGINNING_LOOK_SECONDS)


def add_children(closers: Closers, found: list[Any]) -> None:
    """Add those of the children found that are not known yet."""
    known = {id(worker.process) for worker in closers.workers} | _ended_by_others(closers)
    for process in found:
        if id(process) not in known:
            closers.add(Entry(process, PROCESS, process.name, registered=False))


def children(closers: Closers) -> list[Any]:
    """Return the child processes, less those that others end: managers, loky and the like."""
    others = _ended_by_others(closers)
    # Those whose fork server has died only seem to have ended.
    found = [child for child in ended_children() if tree.of_fork_server(child.pid)]
    found += multiprocessing.active_children() + children_of_relatives()
    return [child for child in found if is_child(child) and id(child) not in others]


def _ended_by_others(closers: Closers) -> set[int]:
    """Return the identities of the processes that others end."""
    found = {id(other.process) for other in closers.others if isinstance(other, ManagerCloser)}
    for other in closers.others:
        if isinstance(other, LokyCloser):
            found |= {id(process) for process in other.processes()}
    return found


def name_unregistered(closers: Closers) -> None:
    """Name the queues that lost items after the variables of the app that hold them.

    While a check is running, all that nobody registered is named after whatever holds it.
    """
    if is_written():
        found: list[tuple[Any, ResourceReport]] = [(q.queue, q.report) for q in closers.queues]
        found += [(other.resource, other.report) for other in closers.others]
        found = [(resource, report) for resource, report in found if not report.registered]
        things = [resource for resource, _ in found]
        names = holder_names(things) | traced_names(things)
        for resource, report in found:
            report.name = names.get(id(resource), report.name)
        return
    lossy = [q for q in closers.queues if q.report.dropped and not q.report.registered]
    names = global_names(queue.queue for queue in lossy)
    for queue in lossy:
        queue.report.name = names.get(id(queue.queue), queue.report.name)
