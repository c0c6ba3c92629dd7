"""Notes where each multiprocessing resource of this process is made, and how the process ends.

Loaded as a hook (see `asgi_mpclean._inject`) into the processes of a command, by whatever Python
they run on, or imported by `asgi_mpclean` itself for `trace()` in one process. It uses the standard
library only, and nothing of the rest of the package.

`names` is where the private names are; `sites` finds the line; `journal` is the file; `making`,
`children` and `endings` wrap what makes, starts and ends; `tracker` works in the resource tracker.
"""

from __future__ import annotations

import os
import sys

from . import journal
from .begin import begin

FOLDER = "ASGI_MPCLEAN_TRACE"
"""The variable with the folder that the files are written to."""

if __name__ == "_asgi_mpclean_recorder":  # As a hook.
    from _asgi_mpclean_inject import is_resource_tracker, when_imported

    if folder := os.environ.get(FOLDER):
        journal.open_in(folder)
        begin(when_imported, in_tracker=is_resource_tracker())

del os, sys
