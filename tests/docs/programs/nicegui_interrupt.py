"""A NiceGUI app without reload, and CTRL-C."""

import os

from nicegui import ui


@ui.page("/")
def index() -> None:
    """Show something."""
    ui.label("ready")


if __name__ in {"__main__", "__mp_main__"}:
    ui.run(port=int(os.environ["PORT"]), reload=False, show=False)
