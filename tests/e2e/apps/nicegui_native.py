"""A NiceGUI app in a window of its own, with a worker between two queues that nobody else reads.

Each item that is put in comes out once: as a result, or as a job that nobody has begun.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import TYPE_CHECKING

import webview
from nicegui import app, ui

from asgi_mpclean import Process, attach, register

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    Jobs = Queue[int | None]
    Results = Queue[tuple[int, str]]


def say(text: str) -> None:
    """Write a line in one piece, also where several processes write."""
    os.write(1, f"{text}\n".encode())


def work(jobs: Jobs, results: Results) -> None:
    """Take a moment for each job, and fill the pipe of the results."""
    say("working")
    while (number := jobs.get()) is not None:
        time.sleep(float(os.environ.get("APP_JOB", "0.005")))
        results.put((number, "x" * 1024))


spawn = multiprocessing.get_context("spawn")
# The window's process imports this module too, and makes one of its own, as the worker does.
unregistered = spawn.Queue()
jobs: Jobs
results: Results


def start() -> None:
    """Make the queues in the process that serves, and start the worker there."""
    global jobs, results  # noqa: PLW0603 - for the endpoint
    jobs = register(spawn.Queue(), name="jobs", on_item=lambda number: say(f"item {number}"))
    results = register(spawn.Queue(), name="results", on_item=lambda item: say(f"item {item[0]}"))
    worker = Process(target=work, args=(jobs, results), ctx=spawn, stop=lambda: jobs.put(None))
    worker.start()
    say("started")


def watch_window() -> None:
    """Tell when all has been done that NiceGUI and pywebview do in a page that they have loaded.

    pywebview runs this in the window's process; handlers are called in the order they were added.
    """
    webview.windows[0].events.loaded += lambda: say("loaded")


attach(app)
app.on_startup(start)
app.on_shutdown(lambda: say("stopping"))
app.on_connect(lambda: say("connected"))
app.native.start_args["func"] = watch_window


@app.get("/put/{first}/{last}")
def put(first: int, last: int) -> int:
    """Hand in work."""
    for number in range(first, last):
        jobs.put(number)
    return last - first


@app.get("/shutdown")
def shutdown() -> None:
    """End the app as a button in its page would."""
    app.shutdown()


@ui.page("/")
def index() -> None:
    """Show something."""
    ui.label("ready")


if __name__ in {"__main__", "__mp_main__"}:
    reload = "APP_RELOAD" in os.environ
    ui.run(native=True, port=int(os.environ["PORT"]), reload=reload, title="nicegui_native")
