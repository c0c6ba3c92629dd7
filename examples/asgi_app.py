"""An ASGI app without a framework; the wrapper gives it a lifespan.

Start it, hand work in, and press CTRL-C:

    python examples/asgi_app.py
    curl -X POST localhost:8000/jobs/7
"""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING, Any

import uvicorn

from asgi_mpclean import MPCleanLifespan, register

if TYPE_CHECKING:
    from multiprocessing.queues import Queue


def save(path: str) -> None:
    """Keep what nobody has taken; a real app would write it to its database."""
    print(f"left: {path}", flush=True)


jobs: Queue[str] = register(multiprocessing.get_context("spawn").Queue(), on_item=save)


async def hand_in(scope: Any, _receive: Any, send: Any) -> None:
    """Put the path of each request into the queue."""
    if scope["type"] == "http":
        jobs.put(scope["path"])
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})


app = MPCleanLifespan(hand_in)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
