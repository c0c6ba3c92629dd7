"""Children that have helpers or children of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.managers
import os
from typing import TYPE_CHECKING, Any

import harm_nested
import harm_work
from harm_serve import REGISTERED, app_of, say

import asgi_mpclean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asgi_mpclean import CleanupReport

ctx: Any = multiprocessing.get_context(os.environ.get("METHOD", "spawn"))
CASE = os.environ["CASE"]
ITEMS = 200
made: list[Any] = []


def _kept(resource: Any, **options: Any) -> Any:
    return asgi_mpclean.register(resource, **options) if REGISTERED else resource


async def _segments() -> AsyncIterator[None]:
    """A SharedMemoryManager with segments, and a segment of the app's own."""
    manager = _kept(multiprocessing.managers.SharedMemoryManager(ctx=ctx))
    manager.start()
    made.extend([manager, manager.SharedMemory(4096), manager.ShareableList([1, 2])])
    yield
    if CASE == "segments, ended":
        manager.shutdown()


async def _managed() -> AsyncIterator[None]:
    """A manager's queue with items that a slow worker leaves in it."""
    manager = _kept(ctx.Manager())
    queue = manager.JoinableQueue() if CASE == "managed, joinable" else manager.Queue()
    got: list[int] = []
    _kept(queue, on_item=got.append, name="managed")
    worker = ctx.Process(target=harm_work.take_one_and_wait, args=(queue,), daemon=True)
    worker.start()
    made.extend([manager, queue, worker, got])
    for number in range(ITEMS + 1):
        queue.put(number)
    while queue.qsize() > ITEMS:  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.01)
    yield


async def _nested() -> AsyncIterator[None]:
    """A worker that has workers."""
    target = getattr(harm_nested, CASE)
    ready = ctx.Event()
    if REGISTERED:
        worker: Any = asgi_mpclean.Process(target=target, args=(ready,), ctx=ctx)
    else:
        worker = ctx.Process(target=target, args=(ready,))
    worker.start()
    ready.wait()
    yield


def tell(report: CleanupReport) -> None:
    """Say what became of each."""
    for entry in report.resources:
        say("REPORT", entry.kind, entry.outcome, entry.delivered, entry.dropped)
    if CASE.startswith("managed") and REGISTERED:
        say("GOT", made[-1] == list(range(1, ITEMS + 1)))


KINDS = {"segments": _segments, "managed": _managed}
app = app_of(KINDS.get(CASE.partition(",")[0], _nested), on_report=tell)
