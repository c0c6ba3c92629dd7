"""The reference and the typing tests have every public name; the README is one of one screen."""

from __future__ import annotations

import importlib.metadata
import re
from typing import TYPE_CHECKING

import pytest
from pages import PAGES, ROOT

import asgi_mpclean

if TYPE_CHECKING:
    from pathlib import Path

LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
README_LINES = 150


@pytest.mark.parametrize("file", ["docs/reference/api.md", "typing_tests/api.py"])
def test_every_public_name_is_there(file: str) -> None:
    text = (ROOT / file).read_text()
    missing = [name for name in asgi_mpclean.__all__ if not re.search(rf"\b{name}\b", text)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    found = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in found if not (page.parent / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_the_readme_of_the_package_can_be_read_anywhere() -> None:
    """On PyPI its links and its picture are not those of the repository."""
    text = importlib.metadata.metadata("asgi-mpclean")["Description"]
    assert "# asgi_mpclean" in text
    links = LINK.findall(text)
    assert [link for link in links if not link.startswith("https://")] == []
    paths = [link.partition("/main/")[2] for link in links if "/main/" in link]
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
