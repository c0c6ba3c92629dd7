"""An app for the messages of servers."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import TYPE_CHECKING, Any

import anyio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_mpclean import mpclean_lifespan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def index(_request: Any) -> PlainTextResponse:
    """Answer."""
    return PlainTextResponse("ok")


async def slow(_request: Any) -> PlainTextResponse:
    """Do not answer."""
    print("asked", flush=True)
    await anyio.sleep(600)
    return PlainTextResponse("late")


async def block(_request: Any) -> PlainTextResponse:
    """Block the event loop."""
    print("asked", flush=True)
    time.sleep(600)  # noqa: ASYNC251 - that is the fault
    return PlainTextResponse("late")


async def die(_request: Any) -> PlainTextResponse:
    """End the process, as a crash or the kernel does when memory is short."""
    os.kill(os.getpid(), 9)
    return PlainTextResponse("never")


async def endless(_app: Any) -> AsyncIterator[None]:
    """Wait for ever at the shutdown."""
    yield
    print("stopping", flush=True)
    if "APP_ENDLESS" in os.environ:
        await anyio.sleep(600)


async def with_worker(_app: Any) -> AsyncIterator[None]:
    """Start a process, as the workers of hypercorn must not."""
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    yield


def fork_worker() -> None:
    """Start a worker by fork, which inherits the listening socket."""
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)).start()


async def forking(_request: Any) -> PlainTextResponse:
    """Start such a worker."""
    fork_worker()
    return PlainTextResponse("forked")


ROUTES = [
    Route("/", index),
    Route("/slow", slow),
    Route("/block", block),
    Route("/die", die),
    Route("/fork", forking),
]
app = Starlette(routes=ROUTES, lifespan=mpclean_lifespan(endless))
starting = Starlette(routes=ROUTES, lifespan=mpclean_lifespan(with_worker))


async def no_lifespan(scope: Any, _receive: Any, send: Any) -> None:
    """Know no lifespan."""
    if scope["type"] != "http":
        message = "unknown scope"
        raise RuntimeError(message)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
