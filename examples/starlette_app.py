"""Starlette with a worker that adds up numbers in shared memory; the app is wrapped.

Start it, hand work in, and press CTRL-C:

    python examples/starlette_app.py
    curl -X POST localhost:8000/add/7
    curl localhost:8000/total
"""

from __future__ import annotations

import multiprocessing
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_mpclean import MPCleanLifespan, Process, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue
    from multiprocessing.sharedctypes import Synchronized

    from starlette.requests import Request

spawn = multiprocessing.get_context("spawn")


def add_up(numbers: Queue[int | None], total: Synchronized[int]) -> None:
    """Run in the worker process, until the sentinel comes."""
    for number in iter(numbers.get, None):
        with total:
            total.value += number


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
    """Make the queue and the total, and start the worker; the clean-up needs no code."""
    numbers: Queue[int | None] = register(spawn.Queue(), name="numbers")
    total: Synchronized[int] = register(spawn.Value("q", 0), name="total")
    worker = Process(
        target=add_up, args=(numbers, total), ctx=spawn, stop=lambda: numbers.put(None)
    )
    worker.start()
    yield {"numbers": numbers, "total": total}


async def add(request: Request) -> PlainTextResponse:
    """Hand a number to the worker."""
    request.state.numbers.put(request.path_params["number"])
    return PlainTextResponse("accepted", status_code=202)


async def show_total(request: Request) -> PlainTextResponse:
    """Show the sum so far."""
    return PlainTextResponse(str(request.state.total.value))


app = MPCleanLifespan(
    Starlette(
        routes=[Route("/add/{number:int}", add, methods=["POST"]), Route("/total", show_total)],
        lifespan=lifespan,
    )
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
