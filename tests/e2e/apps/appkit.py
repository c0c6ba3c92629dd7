"""What the small apps of the end-to-end tests share: settings from the environment, and the count.

The tests start these apps as a user would, in processes of their own, so the environment is the
only way in and a file of JSON lines the only way out.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypedDict, cast

import anyio
import frameworks
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route

from asgi_mpclean import MPCleanLifespan, Process, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from multiprocessing.context import SpawnContext
    from multiprocessing.process import BaseProcess

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from asgi_mpclean import CleanupReport

    Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


REGISTERED = os.environ.get("MPC_REGISTER", "1") == "1"
"""Whether the app registers what it makes, or leaves all of it to discovery."""

STOP = os.environ.get("MPC_STOP", "0") == "1"
"""Whether workers are registered with a ``stop`` that asks them to end."""

WRAP = os.environ.get("MPC_WRAP", "wrapper")
"""How the library is attached: wrapper, middleware, lifespan, or bare (app without lifespan)."""

CONTEXT = cast("SpawnContext", multiprocessing.get_context(os.environ.get("MPC_METHOD", "spawn")))

PAYLOAD = b"x" * 1024


class Settings(TypedDict):
    """The options that the library is attached with."""

    timeout: float
    on_report: Callable[[CleanupReport], None]


@functools.cache
def account_file() -> int:
    """Open the file of the count, in such a way that several processes can write lines to it."""
    path = os.environ.get("MPC_ACCOUNT", os.devnull)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def account(**fields: object) -> None:
    """Write one line to the file that the test counts."""
    os.write(account_file(), json.dumps({"pid": os.getpid(), **fields}).encode() + b"\n")


def count_as(kind: str) -> Callable[[tuple[int, bytes] | None], None]:
    """Return an ``on_item`` that writes down the number of each item; sentinels have none."""

    def on_item(item: tuple[int, bytes] | None) -> None:
        if item is not None:
            number, _payload = item
            account(kind=kind, number=number)

    return on_item


def account_report(report: CleanupReport) -> None:
    """Write down what the library says it did."""
    account(
        kind="report",
        delivered=report.delivered,
        saved=report.saved,
        dropped=report.dropped,
        resources={resource.name: str(resource) for resource in report.resources},
    )


def announce(text: str) -> None:
    """Tell the test, by a line on stdout, how far the app has come."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def pause(variable: str) -> float:
    """Return the seconds that a step shall take according to the environment, normally none."""
    return float(os.environ.get(variable, "0"))


def import_slowly() -> None:
    """Take as long as the environment says, after telling the test that it begins."""
    announce("importing")
    until = time.monotonic() + pause("MPC_SLOW_IMPORT")
    # A signal that comes just before a sleep begins waits for its end: Python has looked already.
    while time.monotonic() < until:
        time.sleep(0.01)


async def start_slowly() -> None:
    """Take as long as the environment says, after telling the test that it begins."""
    announce("starting")
    await anyio.sleep(pause("MPC_SLOW_START"))


def start_worker(
    target: Callable[..., None], *args: object, stop: Callable[[], object]
) -> BaseProcess:
    """Start a worker, of multiprocessing or of the library, and register it if that is asked."""
    process: BaseProcess
    if os.environ.get("MPC_PROCESS") == "library":
        process = Process(target=target, args=args, ctx=CONTEXT)
    else:
        process = CONTEXT.Process(target=target, args=args)
    if REGISTERED:
        register(process, name="worker", stop=stop if STOP else None)
    process.start()
    return process


async def index(_request: Request) -> PlainTextResponse:
    """Answer at once."""
    return PlainTextResponse("ok")


async def slow(_request: Request) -> PlainTextResponse:
    """Answer so late that the server is always stopped first."""
    announce("slow request")
    await anyio.sleep(30)
    return PlainTextResponse("late")


@asynccontextmanager
async def no_lifespan(_app: Any) -> AsyncIterator[None]:
    """Do nothing at start-up and shutdown."""
    yield


async def answer_without_lifespan(scope: Scope, _receive: Receive, send: Send) -> None:
    """Be the smallest ASGI app, one that knows no lifespan."""
    if scope["type"] != "http":
        message = f"unknown scope {scope['type']}"
        raise NotImplementedError(message)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def build(lifespan: Lifespan | None = None) -> ASGIApp:
    """Return an app with the library attached in the way that the environment says."""
    if name := os.environ.get("MPC_ALTERNATIVE"):  # What others do instead: tools/cells.py.
        import alternatives  # noqa: PLC0415 - in tools, which only that command has in its path

        lifespan = alternatives.around(name, lifespan or no_lifespan)
    settings = Settings(timeout=float(os.environ.get("MPC_TIMEOUT", "5")), on_report=account_report)
    routes: list[BaseRoute] = [Route("/", index), Route("/slow", slow)]
    if framework := os.environ.get("MPC_FRAMEWORK"):
        return frameworks.build(framework, lifespan or no_lifespan, settings)
    if not frameworks.ATTACHED:
        return Starlette(lifespan=lifespan, routes=routes)
    if WRAP == "bare":
        return MPCleanLifespan(answer_without_lifespan, **settings)
    if WRAP == "lifespan":
        from fastapi import FastAPI  # noqa: PLC0415 - it takes long, and one test in four needs it

        return FastAPI(lifespan=mpclean_lifespan(lifespan, **settings), routes=routes)
    app = Starlette(lifespan=lifespan, routes=routes)
    if WRAP == "middleware":
        app.add_middleware(MPCleanLifespan, **settings)
        return app
    return MPCleanLifespan(app, **settings)
