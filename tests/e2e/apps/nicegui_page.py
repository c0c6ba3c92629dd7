"""A NiceGUI app with a page and two queues at module level; only one of them is registered."""

from __future__ import annotations

import multiprocessing
import os

from nicegui import app, ui

from asgi_mpclean import attach, register


def say(text: str) -> None:
    """Write a line in one piece, also where several processes write."""
    os.write(1, f"{text}\n".encode())


spawn = multiprocessing.get_context("spawn")
unregistered = spawn.Queue()
jobs = register(spawn.Queue(), name="jobs", on_item=lambda item: say(f"item {item[0]}"))

attach(app)
app.on_startup(lambda: say("started"))


@app.get("/put/{first}/{last}")
def put(first: int, last: int) -> int:
    """Put items of 1 KiB into the queue, which nobody reads."""
    for number in range(first, last):
        jobs.put((number, "x" * 1024))
    return last - first


@ui.page("/")
def index() -> None:
    """Show something."""
    ui.label("ready")


if __name__ in {"__main__", "__mp_main__"}:
    ui.run(port=int(os.environ["PORT"]), reload="APP_RELOAD" in os.environ, show=False)
