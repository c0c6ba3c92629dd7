"""An app with two queues that nobody uses: the smallest thing that leaks."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from appkit import CONTEXT, REGISTERED, build, import_slowly, start_slowly

from asgi_mpclean import register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue

jobs: Queue[object] = CONTEXT.Queue()
results: Queue[object] = CONTEXT.Queue()
if REGISTERED:
    register(jobs)
    register(results)
import_slowly()


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Start, slowly if asked to."""
    await start_slowly()
    yield


app = build(lifespan)
