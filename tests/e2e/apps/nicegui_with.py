"""A FastAPI app with NiceGUI mounted in it, and a queue of the default context."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

from fastapi import FastAPI
from nicegui import app, ui

from asgi_mpclean import attach, register

if TYPE_CHECKING:
    from multiprocessing.queues import Queue


def say(text: str) -> None:
    """Write a line in one piece, also where several processes write."""
    os.write(1, f"{text}\n".encode())


def delivered(item: tuple[int, str]) -> None:
    """Tell which item came."""
    say(f"item {item[0]}")


# In the process that --reload spawns, spawn is the default: this queue can leak there.
jobs: Queue[tuple[int, str]] = register(multiprocessing.Queue(), name="jobs", on_item=delivered)
api = FastAPI()
attach(api)


@api.get("/put/{first}/{last}")
def put(first: int, last: int) -> int:
    """Put items of 1 KiB into the queue, which nobody reads."""
    for number in range(first, last):
        jobs.put((number, "x" * 1024))
    return last - first


@ui.page("/")
def index() -> None:
    """Show something."""
    ui.label("ready")


app.on_startup(lambda: say("started"))
ui.run_with(api)
