"""An app whose worker ends for nothing less than SIGKILL."""

from __future__ import annotations

import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from appkit import CONTEXT, REGISTERED, announce, build, start_worker

from asgi_mpclean import register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue


def work(jobs: Queue[object]) -> None:
    """Ignore the queue, the signals and the time."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What it makes itself has to go as well: SIGKILL leaves it no time for that.
    own: Queue[object] = CONTEXT.Queue()
    announce("worker ready")
    while jobs is not own:
        time.sleep(1)


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Start the worker."""
    jobs: Queue[object] = CONTEXT.Queue()
    if REGISTERED:
        register(jobs)
    worker = start_worker(work, jobs, stop=lambda: None)
    yield
    del worker


app = build(lifespan)
