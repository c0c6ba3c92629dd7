"""The interpreters that the injected code is tried on: of other environments, without the library.

The default run has one, the Python that runs the tests. `--long` has every one that is on PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")


def pythons() -> list[str]:
    """Return the paths of the interpreters to try."""
    if "MPC_LONG" not in os.environ and "--long" not in sys.argv:
        return [sys.executable]
    found = [shutil.which(f"python{version}") for version in VERSIONS]
    return [path for path in found if path and _works(path)]


def _works(path: str) -> bool:
    # A launcher of pyenv may stand for a version that is not there.
    return subprocess.run([path, "-c", "pass"], capture_output=True, check=False).returncode == 0
