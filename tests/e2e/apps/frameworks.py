"""The same app in each framework, with the library attached as a user of that framework would."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from asgi_mpclean import MPCleanLifespan, attach, mpclean_lifespan

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from appkit import Lifespan, Settings
    from django.http import HttpRequest, HttpResponse
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

ATTACHED = os.environ.get("MPC_ATTACHED") != "0"
"""Whether the library is attached at all."""


def wrapped(app: Any, settings: Settings) -> ASGIApp:
    """Return the app in the wrapper."""
    return MPCleanLifespan(app, **settings) if ATTACHED else app


# Each imports its framework where it is built: a run shall load no other one.
# ruff: noqa: PLC0415


class AtFirstRequest:
    """Enters a lifespan at the first request, for apps that know none. Nothing ever leaves it."""

    def __init__(self, lifespan: Lifespan) -> None:
        """Note the lifespan."""
        self._lifespan = lifespan
        self._entered: AbstractAsyncContextManager[None] | None = None

    async def begin(self) -> None:
        """Enter it, unless that was done."""
        if self._entered is None:
            self._entered = self._lifespan(None)
            await self._entered.__aenter__()


def starlette(lifespan: Lifespan, settings: Settings) -> ASGIApp:
    """Return a Starlette app with the middleware."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def index(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    app = Starlette(lifespan=lifespan, routes=[Route("/", index)])
    if ATTACHED:
        app.add_middleware(MPCleanLifespan, **settings)
    return app


def fastapi(lifespan: Lifespan, settings: Settings) -> ASGIApp:
    """Return a FastAPI app with the lifespan."""
    from fastapi import FastAPI

    app = FastAPI(lifespan=mpclean_lifespan(lifespan, **settings) if ATTACHED else lifespan)

    @app.get("/")
    async def index() -> str:
        return "ok"

    return app


def nicegui(lifespan: Lifespan, settings: Settings) -> ASGIApp:
    """Return a FastAPI app with NiceGUI mounted in it."""
    from fastapi import FastAPI
    from nicegui import ui

    app = FastAPI(lifespan=lifespan)
    if ATTACHED:
        attach(app, **settings)

    @ui.page("/")
    def index() -> None:
        ui.label("ok")

    ui.run_with(app)
    return app


def litestar(lifespan: Lifespan, settings: Settings) -> ASGIApp:
    """Return a wrapped Litestar app."""
    from litestar import Litestar, get

    @get("/")
    async def index() -> str:
        return "ok"

    return wrapped(Litestar([index], lifespan=[lifespan]), settings)


def quart(lifespan: Lifespan, settings: Settings) -> ASGIApp:
    """Return a wrapped Quart app."""
    from quart import Quart

    app = Quart(__name__)

    @app.while_serving
    async def serve() -> AsyncGenerator[None, None]:
        async with lifespan(app):
            yield

    @app.route("/")
    async def index() -> str:
        return "ok"

    return wrapped(app, settings)


def django(lifespan: Lifespan, settings: Settings) -> ASGIApp:
    """Return a wrapped Django site, which knows no lifespan."""
    from django.conf import settings as configuration
    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse
    from django.urls import path

    work = AtFirstRequest(lifespan)

    async def index(_request: HttpRequest) -> HttpResponse:
        await work.begin()
        return HttpResponse("ok")

    class Urls:
        urlpatterns = (path("", index),)

    configuration.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=Urls)
    return wrapped(get_asgi_application(), settings)


def asgi(lifespan: Lifespan, settings: Settings) -> ASGIApp:
    """Return a wrapped function, the smallest ASGI app, which knows no lifespan."""
    work = AtFirstRequest(lifespan)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - daphne passes it by name
        if scope["type"] != "http":
            message = f"unknown scope {scope['type']}"
            raise NotImplementedError(message)
        await work.begin()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return wrapped(answer, settings)


FRAMEWORKS: dict[str, Callable[[Any, Any], Any]] = {
    "starlette": starlette,
    "fastapi": fastapi,
    "nicegui": nicegui,
    "litestar": litestar,
    "quart": quart,
    "django": django,
    "asgi": asgi,
}


def build(framework: str, lifespan: Lifespan, settings: Settings) -> ASGIApp:
    """Return the app in that framework."""
    app: ASGIApp = FRAMEWORKS[framework](lifespan, settings)
    return app
