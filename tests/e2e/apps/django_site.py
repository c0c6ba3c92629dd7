"""A Django site in one file, with a queue that nobody reads."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from appkit import CONTEXT, PAYLOAD, account_report, count_as
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path

from asgi_mpclean import MPCleanLifespan, Process, register

if TYPE_CHECKING:
    from django.http import HttpRequest

if not settings.configured:
    settings.configure(
        DEBUG=True,
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        ASGI_APPLICATION=f"{__name__}.app",
        INSTALLED_APPS=["daphne"],  # Its runserver serves ASGI.
    )

unregistered = CONTEXT.Queue()
jobs = register(CONTEXT.Queue(), name="jobs", on_item=count_as("item"))


def index(_request: HttpRequest) -> HttpResponse:
    """Answer at once."""
    return HttpResponse("ok")


def put(_request: HttpRequest, items: int) -> HttpResponse:
    """Put items into the queue."""
    for number in range(items):
        jobs.put((number, PAYLOAD))
    return HttpResponse("put")


def work(_request: HttpRequest) -> HttpResponse:
    """Start a worker that does nothing."""
    Process(target=time.sleep, args=(600,), ctx=CONTEXT).start()
    return HttpResponse("working")


urlpatterns = [path("", index), path("put/<int:items>", put), path("work", work)]
app = MPCleanLifespan(get_asgi_application(), on_report=account_report)

if __name__ == "__main__":
    execute_from_command_line([sys.argv[0], "runserver", os.environ["PORT"]])
