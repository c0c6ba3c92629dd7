"""A FastAPI app that makes no queue; but NiceGUI 2.15 makes two when it is imported."""

from __future__ import annotations

from fastapi import FastAPI
from nicegui import ui

from asgi_mpclean import attach

api = FastAPI()
attach(api)


@ui.page("/")
def index() -> None:
    """Show something."""
    ui.label("ready")


ui.run_with(api)
