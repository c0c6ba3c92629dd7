"""An app that restarts itself when it is asked to, with items in a queue and a worker alive."""

from __future__ import annotations

import atexit
import functools
import os
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from appkit import CONTEXT, account, announce, build
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_mpclean import Process, register, restart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

START = int(os.environ.get("START", "0"))
ITEMS = 50


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Fill a queue that nobody reads, and start a worker that does nothing."""
    queue = register(CONTEXT.Queue(), on_item=lambda item: account(start=START, number=item))
    for number in range(ITEMS):
        queue.put(number)
    Process(target=time.sleep, args=(600,), ctx=CONTEXT).start()
    announce(f"start {START}")
    yield
    announce(f"lifespan ended {START}")


async def restart_now(request: Request) -> PlainTextResponse:
    """Ask for a restart, in the event loop or in a thread."""
    os.environ["START"] = str(START + 1)
    call = functools.partial(restart, via=request.path_params["via"])
    try:
        if request.path_params["where"] == "loop":
            call()
        else:
            await anyio.to_thread.run_sync(call)
    except RuntimeError as error:
        return PlainTextResponse(f"{error}", status_code=500)
    return PlainTextResponse("restarting")


async def take_your_time(_request: Request) -> PlainTextResponse:
    """Be in the middle of a request when the restart comes."""
    announce("slow request")
    await anyio.sleep(1)
    return PlainTextResponse("finished")


async def stay(_request: Request) -> PlainTextResponse:
    """Leave a thread behind that would keep the process from ending."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    return PlainTextResponse("staying")


app = build(lifespan)
inner: Any = app
while not hasattr(inner, "add_route"):
    inner = inner.app
inner.router.routes += [
    Route("/restart/{via}/{where}", restart_now),
    Route("/take-your-time", take_your_time),
    Route("/stay", stay),
]

if __name__ == "__main__":
    atexit.register(announce, f"atexit {START}")
    uvicorn.run(app, port=int(os.environ["PORT"]), loop=os.environ.get("LOOP", "auto"))
    announce(f"returned {START}")
