"""How a line of code is shown: by its package or its place in the project, with its text."""

from __future__ import annotations

import linecache
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .reading import Site

UNKNOWN = "in code that was not seen"
_PACKAGES = re.compile(r".*[/\\](?:site|dist)-packages[/\\]")


def shown(site: Site | None) -> str:
    """Return file and line: "app.py:12", or "nicegui/native/native.py:25" of a package."""
    return UNKNOWN if site is None else f"{_file(site.file)}:{site.line}"


def source(site: Site | None) -> str:
    """Return the text of the line, empty where it cannot be read."""
    return "" if site is None else linecache.getline(site.file, site.line).strip()


def _file(path: str) -> str:
    package = _PACKAGES.match(path)
    if package:
        return path[package.end() :]
    return path.removeprefix(os.path.join(os.getcwd(), ""))
