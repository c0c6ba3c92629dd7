"""A camera process that writes frames into shared memory, and a server that shows the latest.

The camera is made up. Frames do not go through a queue, which would copy them: there is room for
one, a lock around it, and a number that counts.

Start it, look at a frame, and press CTRL-C:

    python examples/camera_frames.py
    curl localhost:8000/frame
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from fastapi import FastAPI, Request

from asgi_mpclean import Process, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from multiprocessing.sharedctypes import Synchronized
    from multiprocessing.synchronize import Event

spawn = multiprocessing.get_context("spawn")
WIDTH, HEIGHT = 640, 480
SECONDS_PER_FRAME = 1 / 25


def film(memory: SharedMemory, number: Synchronized[int], stop: Event) -> None:
    """Run in the camera process, until it is told to stop."""
    frame = cast("memoryview", memory.buf)
    while not stop.wait(SECONDS_PER_FRAME):
        with number:
            number.value += 1
            frame[:] = bytes([number.value % 256]) * (WIDTH * HEIGHT)


@mpclean_lifespan
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Make the memory and start the camera; the clean-up needs no code."""
    memory = register(SharedMemory(create=True, size=WIDTH * HEIGHT))
    number = register(spawn.Value("i", 0))
    stop = register(spawn.Event())
    Process(target=film, args=(memory, number, stop), ctx=spawn, stop=stop.set).start()
    yield {"memory": memory, "number": number}


app = FastAPI(lifespan=lifespan)


@app.get("/frame")
def show_frame(request: Request) -> dict[str, int]:
    """Tell the number of the latest frame, and its brightness."""
    with request.state.number:
        return {"number": request.state.number.value, "brightness": request.state.memory.buf[0]}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
