"""Whether anything gets on in this process and its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgi_mpclean._cpython.discovery import queues_made_here
from asgi_mpclean._cpython.executors import live_executors
from asgi_mpclean._cpython.groups import pools_and_managers
from asgi_mpclean._cpython.pools import is_pool
from asgi_mpclean._cpython.progress import executor_progress, living_children, pool_progress
from asgi_mpclean._cpython.queues import backlog_size, readable_fd
from asgi_mpclean._items.pipe import bytes_in_pipe

if TYPE_CHECKING:
    from collections.abc import Hashable


def progress() -> Hashable:
    """Return what differs from a former one if a worker, a queue or a job has got on.

    A worker has ended, something was written or read, a job is done.
    """
    queues = [(id(queue), _bytes(queue), backlog_size(queue)) for queue in queues_made_here()]
    pools = [(id(pool), pool_progress(pool)) for pool in pools_and_managers() if is_pool(pool)]
    executors = [(id(executor), executor_progress(executor)) for executor in live_executors()]
    return living_children(), *queues, *pools, *executors


def _bytes(queue: Any) -> int:
    fd = readable_fd(queue)
    return 0 if fd is None else bytes_in_pipe(fd)
