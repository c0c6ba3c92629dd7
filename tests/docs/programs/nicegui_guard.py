"""A NiceGUI file whose condition does not let the reloader's child through."""

import os

from nicegui import ui


@ui.page("/")
def index() -> None:
    """Show something."""
    ui.label("ready")


if __name__ == "__main__":
    ui.run(port=int(os.environ["PORT"]), reload=True, show=False)
