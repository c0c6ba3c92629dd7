"""An app with event streams that never end by themselves; sse-starlette ends them at the stop."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from typing import TYPE_CHECKING

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_mpclean import MPCleanLifespan, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

ATTACH = os.environ.get("ATTACH", "wrapper")


async def index(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def stream(_request: Request) -> EventSourceResponse:
    async def events() -> AsyncIterator[dict[str, str]]:
        while True:
            yield {"data": "tick"}
            await asyncio.sleep(0.05)

    return EventSourceResponse(events())


app = Starlette(
    routes=[Route("/", index), Route("/stream", stream)],
    lifespan=mpclean_lifespan() if ATTACH == "lifespan" else None,
)
if ATTACH == "registered":
    register(multiprocessing.get_context("spawn").Queue())
if ATTACH != "lifespan":
    app = MPCleanLifespan(app)  # type: ignore[assignment]
