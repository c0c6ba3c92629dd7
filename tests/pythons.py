"""The interpreters that the injected code is tried on: of other environments, without the library.

The default run has one, the Python that runs the tests. `--long` has every one that is on PATH, and
each row of the tables of which the default run has `some`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONG = "MPC_LONG" in os.environ or "--long" in sys.argv
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")


def pythons() -> list[str]:
    """Return the paths of the interpreters to try."""
    if not LONG:
        return [sys.executable]
    found = [shutil.which(f"python{version}") for version in VERSIONS]
    return [path for path in found if path and _works(path)]


def some(table: Iterable[str], *names: str) -> list[str]:
    """Return the rows of a table that are tried: all with `--long`, else those that are named."""
    rows = list(table)
    assert set(names) <= set(rows)
    return rows if LONG else list(names)


def _works(path: str) -> bool:
    # A launcher of pyenv may stand for a version that is not there.
    return subprocess.run([path, "-c", "pass"], capture_output=True, check=False).returncode == 0
