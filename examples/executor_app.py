"""FastAPI with a ProcessPoolExecutor for work that takes the CPU.

Start it, hand work in, and press CTRL-C. Jobs in hand are finished, the others are cancelled:

    python examples/executor_app.py
    curl -X POST localhost:8000/jobs/7
    curl localhost:8000/square/7
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI, Request

from asgi_mpclean import mpclean_lifespan, register, worker_init

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

spawn = multiprocessing.get_context("spawn")


def square(number: int) -> int:
    """Run in a worker process."""
    return number * number


@mpclean_lifespan
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Make the executor; the clean-up needs no code."""
    yield {"executor": register(ProcessPoolExecutor(1, spawn, initializer=worker_init))}


app = FastAPI(lifespan=lifespan)


@app.get("/square/{number}")
async def show_square(number: int, request: Request) -> int:
    """Square a number, without blocking the event loop."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(request.state.executor, square, number)


@app.post("/jobs/{number}", status_code=202)
async def submit(number: int, request: Request) -> None:
    """Hand a number in, and do not wait for it."""
    request.state.executor.submit(square, number)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
