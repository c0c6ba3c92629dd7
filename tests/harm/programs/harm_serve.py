"""A Starlette app of one lifespan, with the library around it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import asgi_mpclean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TIMEOUT = float(os.environ.get("TIMEOUT", "2"))
REGISTERED = "REGISTERED" in os.environ


def say(*words: object) -> None:
    """Print a line at once, and in one piece, as several processes print."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def app_of(case: Callable[[], Any], *, on_report: Any = None, **endpoints: Any) -> Starlette:
    """Make an app.

    Args:
        case: An async generator function: what the app does before and after its `yield`.
        on_report: See the library.
        endpoints: What is called in a thread for a request, by the path.
    """
    lifespan = contextlib.asynccontextmanager(case)

    @contextlib.asynccontextmanager
    async def told(_app: Starlette) -> AsyncIterator[None]:
        async with lifespan():
            say("ready")
            yield
            say("stopping")

    def route(function: Callable[[], object]) -> Any:
        async def endpoint(_request: Any) -> PlainTextResponse:
            return PlainTextResponse(str(await run_in_threadpool(function)))

        return endpoint

    if "LOUD" in os.environ:
        logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
    return Starlette(
        routes=[Route(f"/{path}", route(function)) for path, function in endpoints.items()],
        lifespan=asgi_mpclean.mpclean_lifespan(told, timeout=TIMEOUT, on_report=on_report),
    )
