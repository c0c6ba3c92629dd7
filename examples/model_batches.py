"""A model in a process of its own that works on batches, with a queue there and a queue back.

The model is made up. Requests wait for their answers; at the shutdown the model ends the batch that
it has in hand, and requests that have no answer by then get a status of 503.

Start it, ask, and press CTRL-C:

    python examples/model_batches.py
    curl localhost:8000/predict/7
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import threading
from queue import Empty
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request

from asgi_mpclean import Process, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.queues import Queue

    Asked = Queue[tuple[int, float] | None]
    Answers = Queue[tuple[int, float] | None]

spawn = multiprocessing.get_context("spawn")
BATCH_SIZE = 8
numbers = itertools.count()
waiting: dict[int, asyncio.Future[float]] = {}


def next_batch(asked: Asked) -> list[tuple[int, float]]:
    """Wait for one request, and take those that are there already; none when the sentinel came."""
    batch = []
    item = asked.get()
    while item is not None:
        batch.append(item)
        if len(batch) == BATCH_SIZE:
            break
        try:
            item = asked.get_nowait()
        except Empty:
            break
    else:
        asked.put(None)  # For the next look, when this batch is done.
    return batch


def run_model(asked: Asked, answers: Answers) -> None:
    """Run in the process of the model, until the sentinel comes."""
    while batch := next_batch(asked):
        for number, value in batch:
            answers.put((number, value * value))


def pass_on(answers: Answers, loop: asyncio.AbstractEventLoop) -> None:
    """Run in a thread of the server: give each answer to the request that waits for it."""
    for number, value in iter(answers.get, None):
        loop.call_soon_threadsafe(waiting.pop(number).set_result, value)


@mpclean_lifespan
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Make the queues, and start the model and the thread; the clean-up needs no code for them."""
    asked: Asked = register(spawn.Queue(), name="asked", on_item=[].append)
    answers: Answers = register(spawn.Queue(), name="answers", on_item=[].append)
    Process(
        target=run_model, args=(asked, answers), ctx=spawn, stop=lambda: asked.put(None)
    ).start()
    thread = threading.Thread(target=pass_on, args=(answers, asyncio.get_running_loop()))
    thread.start()
    yield {"asked": asked}
    answers.put(None)  # Only this process reads the answers, in a thread of its own.
    thread.join()


app = FastAPI(lifespan=lifespan)


@app.get("/predict/{value}")
async def predict(value: float, request: Request) -> float:
    """Ask the model, and wait for its answer."""
    number = next(numbers)
    waiting[number] = asyncio.get_running_loop().create_future()
    request.state.asked.put((number, value))
    try:
        return await asyncio.wait_for(waiting[number], timeout=30)
    except asyncio.TimeoutError:
        raise HTTPException(503, "the model has not answered") from None


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
