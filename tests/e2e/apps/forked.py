"""An app that ends its own workers, which have inherited the server's handler for SIGTERM."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from appkit import CONTEXT, announce, build

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def work() -> None:
    """Wait for the end."""
    announce("worker ready")
    time.sleep(600)


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Terminate the worker as the documentation of multiprocessing says, or leave that to us."""
    worker = CONTEXT.Process(target=work)
    worker.start()
    yield
    if os.environ.get("MPC_TERMINATE") == "1":
        worker.terminate()
        worker.join()


app = build(lifespan)
