"""The ways in which a script serves an app of its own, and stops without a signal.

The port is in the environment, as PORT; with "flag" among the words of the program, a server that
has started is stopped by the program itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from typing import Any

import uvicorn

PORT = int(os.environ.get("PORT", "0"))
BY_FLAG = "flag" in sys.argv
LOOK = 0.02


def uvicorn_server(app: Any, port: int = PORT) -> uvicorn.Server:
    """Make a server that says nothing, and stops by its flag if it shall."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    if BY_FLAG:
        threading.Thread(target=stop_when_started, args=(server,), daemon=True).start()
    return server


def stop_when_started(server: uvicorn.Server) -> None:
    while not server.started:
        threading.Event().wait(LOOK)
    server.should_exit = True


def by_uvicorn_run(app: Any) -> None:
    uvicorn.run(app, port=PORT, log_level="warning")


def by_uvicorn_server(app: Any) -> None:
    uvicorn_server(app).run()


def in_a_thread(app: Any) -> None:
    """Serve in a thread, and wait for it in the main thread, or until CTRL-C."""
    server = uvicorn_server(app)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(LOOK)
    except KeyboardInterrupt:
        server.should_exit = True
        thread.join()


async def beside_another_task(app: Any) -> None:
    """Serve beside a task that ends with the server."""
    ticking = asyncio.create_task(asyncio.sleep(60))
    try:
        await uvicorn_server(app).serve()
    finally:
        ticking.cancel()


async def by_hypercorn(app: Any) -> None:
    import hypercorn.asyncio  # noqa: PLC0415 - it costs time, and only some need it
    import hypercorn.config  # noqa: PLC0415

    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.loglevel = "ERROR"
    trigger: Any = None
    if BY_FLAG:
        event = asyncio.Event()
        trigger = event.wait
        asyncio.get_running_loop().create_task(_set_when_open(event))
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=trigger)


async def _set_when_open(event: asyncio.Event) -> None:
    writer = None
    while writer is None:
        await asyncio.sleep(LOOK)
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.close()
    event.set()


async def by_granian(app: Any) -> None:
    """Serve with granian in this process; it handles no signals, so the program stops it."""
    from granian.server.embed import Server  # noqa: PLC0415

    server: Any = Server(app, address="127.0.0.1", port=PORT, log_enabled=False)
    event = asyncio.Event()
    asker = asyncio.create_task(_set_when_open(event)) if BY_FLAG else None
    serving = asyncio.create_task(server.serve())
    try:
        await event.wait()
    finally:
        server.stop()
        await serving
        del asker
