"""Finding resources that nobody registered, and the variables that hold them."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.children import ended_children, is_child
from asgi_mpclean._cpython.discovery import UnreferencedQueue, belongs_to_executor, queues_made_here
from asgi_mpclean._cpython.executors import live_executors
from asgi_mpclean._cpython.groups import pools_and_managers
from asgi_mpclean._cpython.memory import shared_memory_made_here
from asgi_mpclean._resources.base import Entry, was_cleaned
from asgi_mpclean._resources.kinds import global_names, kind_of
from asgi_mpclean._resources.manager import ManagerCloser
from asgi_mpclean._resources.queue import QUEUE
from asgi_mpclean._resources.worker import PROCESS
from asgi_mpclean._worker import tree

if TYPE_CHECKING:
    from .closers import Closers

# The functions that find unregistered resources, but for queues and processes.
FINDERS = (pools_and_managers, live_executors, shared_memory_made_here)


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


def _add(closers: Closers, resource: Any) -> None:
    if not was_cleaned(resource):
        name = f"unregistered {len(closers.report.resources) + 1}"
        kind = QUEUE if isinstance(resource, UnreferencedQueue) else kind_of(resource)
        closers.add(Entry(resource, kind, name, registered=False))


def discover_children(closers: Closers) -> None:
    """Add the children of this process that are not known yet."""
    known = {id(worker.process) for worker in closers.workers}
    for process in children(closers):
        if id(process) not in known:
            closers.add(Entry(process, PROCESS, process.name, registered=False))


def children(closers: Closers) -> list[Any]:
    """Return the child processes, except the servers of managers, which are ended last."""
    servers = {id(other.process) for other in closers.others if isinstance(other, ManagerCloser)}
    # Workers whose fork server has died seem to have ended, and may be alive.
    found = [child for child in ended_children() if tree.of_fork_server(child.pid)]
    found += multiprocessing.active_children()
    return [child for child in found if is_child(child) and id(child) not in servers]


def name_unregistered(closers: Closers) -> None:
    """Name the queues that lost items after the variables of the app that hold them."""
    lossy = [q for q in closers.queues if q.report.dropped and not q.report.registered]
    names = global_names(queue.queue for queue in lossy)
    for queue in lossy:
        queue.report.name = names.get(id(queue.queue), queue.report.name)
