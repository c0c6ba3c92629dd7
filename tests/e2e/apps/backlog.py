"""An app that leaves 10,000 items of 1 KiB in a queue, most of them still in its own memory."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from appkit import CONTEXT, PAYLOAD, REGISTERED, account, announce, build, count_as

from asgi_mpclean import register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue

ITEMS = 10_000

queue: Queue[tuple[int, bytes]] = CONTEXT.Queue()
if REGISTERED:
    register(queue, name="backlog", on_item=count_as("item"))


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Fill the queue."""
    for number in range(ITEMS):
        queue.put((number, PAYLOAD))
    account(kind="put", count=ITEMS)
    announce("filled")
    yield


app = build(lifespan)
