"""An app that says how far it has come, so that it can be stopped at any moment of its start."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_mpclean import MPCleanLifespan, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

ATTACH = os.environ.get("ATTACH", "wrapper")
SLOW = float(os.environ.get("SLOW", "0.3"))


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


async def index(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


@contextlib.asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    say("starting")
    if os.environ.get("BLOCKS"):
        time.sleep(SLOW)  # noqa: ASYNC251 - as apps do that load a model
    else:
        await asyncio.sleep(SLOW)
    say("started")
    yield
    say("ending")


queue = register(multiprocessing.get_context("spawn").Queue())
say("importing")
threading.Event().wait(SLOW)  # Something large, a model.
routes = [Route("/", index)]
if ATTACH == "lifespan":
    app: Any = Starlette(routes=routes, lifespan=mpclean_lifespan(lifespan))
else:
    app = MPCleanLifespan(Starlette(routes=routes, lifespan=lifespan))
say("imported")
