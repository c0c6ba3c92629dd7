"""NiceGUI with a worker process behind a page; one line attaches the clean-up.

Start it, hand work in, and press CTRL-C:

    python examples/nicegui_app.py
    curl -X POST localhost:8080/jobs/7      (or open the page and press the button)
"""

from __future__ import annotations

import multiprocessing
import os
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING

from nicegui import app, ui

from asgi_mpclean import Process, attach, register

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

spawn = multiprocessing.get_context("spawn")
finished: list[str] = []

attach(app)


def square_numbers(jobs: Queue[int | None], results: Queue[str]) -> None:
    """Run in the worker process, until the sentinel comes."""
    for number in iter(jobs.get, None):
        results.put(f"{number} squared is {number * number}")


# A spawned worker imports this file again. What is made in here is made once, by the server.
def start_worker() -> None:
    """Make the queues and start the worker; the clean-up needs no code."""
    jobs: Queue[int | None] = register(spawn.Queue(), name="jobs")
    results: Queue[str] = register(spawn.Queue(), name="results", on_item=finished.append)
    worker = Process(
        target=square_numbers, args=(jobs, results), ctx=spawn, stop=lambda: jobs.put(None)
    )
    worker.start()
    app.state.jobs, app.state.results = jobs, results


app.on_startup(start_worker)


@app.post("/jobs/{number}", status_code=202)
def submit(number: int) -> dict[str, int]:
    """Hand a number to the worker."""
    app.state.jobs.put(number)
    return {"submitted": number}


@app.get("/finished")
def collect() -> list[str]:
    """Take the results that are there."""
    try:
        while True:
            finished.append(app.state.results.get_nowait())
    except Empty:
        return finished


@ui.page("/")
def index() -> None:
    """Show a number to square, and what was squared."""
    number = ui.number("Number", value=7, precision=0)
    ui.button("Square it", on_click=lambda: submit(int(number.value or 0)))
    squares = ui.label().style("white-space: pre")
    ui.timer(0.2, lambda: squares.set_text("\n".join(collect())))


if __name__ == "__main__":
    # Unlike uvicorn.run, ui.run lets the KeyboardInterrupt of CTRL-C through when all is over.
    with suppress(KeyboardInterrupt):
        ui.run(port=int(os.environ.get("PORT", "8080")), reload=False, show=False)
