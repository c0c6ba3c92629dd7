"""An app whose server can be caught between the app's start-up and its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from fastapi import FastAPI

from asgi_mpclean import attach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue

SECONDS = 1.0


class Hesitation(logging.Handler):
    """Keeps the server at the place where it has just said that the app has started."""

    def emit(self, record: logging.LogRecord) -> None:
        """Wait, which a signal does not cut short."""
        if "startup complete" in record.getMessage():
            time.sleep(SECONDS)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Start, slowly."""
    os.write(1, b"starting\n")
    await anyio.sleep(SECONDS)
    yield


logging.getLogger("uvicorn").addHandler(Hesitation())
queue: Queue[object] = multiprocessing.get_context("spawn").Queue()
app = FastAPI(lifespan=lifespan)
attach(app)
