"""A NiceGUI script: without a page, the whole file is executed again for each client."""

from __future__ import annotations

import multiprocessing
import os

from nicegui import app, ui

from asgi_mpclean import attach, register

ITEMS = 10


def say(text: str) -> None:
    """Write a line in one piece."""
    os.write(1, f"{text}\n".encode())


attach(app)
spawn = multiprocessing.get_context("spawn")
clicks = register(spawn.Queue(), name="clicks", on_item=lambda item: say(f"item {item}"))
for number in range(ITEMS):
    clicks.put(number)
ui.label("ready")
say("executed")

ui.run(port=int(os.environ["PORT"]), reload=False, show=False)
