"""A Django site with a job queue and a worker process; the app is wrapped.

Django knows no lifespan. The wrapper answers the server in its place, and the worker is started by
the first request that needs it. The site is in one file to be short; in a project, `app` stands in
`asgi.py`, and the rest in `views.py`.

Start it, hand work in, and press CTRL-C:

    python examples/django_app.py
    curl -X POST localhost:8000/jobs/7
    curl localhost:8000/finished
"""

from __future__ import annotations

import functools
import multiprocessing
import os
from typing import TYPE_CHECKING

import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from asgi_mpclean import MPCleanLifespan, Process, register

if TYPE_CHECKING:
    from multiprocessing.queues import Queue, SimpleQueue

spawn = multiprocessing.get_context("spawn")
finished: list[int] = []


def square_numbers(jobs: Queue[int | None], results: SimpleQueue[int]) -> None:
    """Run in the worker process, until the sentinel comes."""
    for number in iter(jobs.get, None):
        results.put(number * number)


@functools.cache
def start() -> tuple[Queue[int | None], SimpleQueue[int]]:
    """Make the queues and start the worker, once; the clean-up needs no code."""
    jobs: Queue[int | None] = register(spawn.Queue(), name="jobs", on_item=finished.append)
    results: SimpleQueue[int] = register(spawn.SimpleQueue(), on_item=finished.append)
    Process(
        target=square_numbers, args=(jobs, results), ctx=spawn, stop=lambda: jobs.put(None)
    ).start()
    return jobs, results


async def submit(_request: HttpRequest, number: int) -> HttpResponse:
    """Hand a number to the worker."""
    jobs, _ = start()
    jobs.put(number)
    return HttpResponse(f"submitted {number}".encode(), status=202)


async def show_finished(_request: HttpRequest) -> HttpResponse:
    """Take the results that are there."""
    _, results = start()
    while not results.empty():
        finished.append(results.get())
    return JsonResponse(finished, safe=False)


urlpatterns = [path("jobs/<int:number>", submit), path("finished", show_finished)]

if __name__ == "__main__":
    settings.configure(ALLOWED_HOSTS=["localhost", "127.0.0.1"], ROOT_URLCONF=__name__)
    app = MPCleanLifespan(get_asgi_application())
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
