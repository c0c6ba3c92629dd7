"""The switch that turns the library off, to see what a program does without it."""

from __future__ import annotations

import os

# Read once: a worker has the environment of its parent.
DISABLED = os.environ.get("ASGI_MPCLEAN_DISABLE", "") not in {"", "0"}
