"""A NiceGUI script, executed for each client, that adds a middleware each time."""

import os

from nicegui import app, ui

from asgi_mpclean import MPCleanLifespan

app.add_middleware(MPCleanLifespan)
ui.label("ready")
ui.run(port=int(os.environ["PORT"]), reload=False, show=False)
