"""The tables of the documentation are those that the commands print."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alternatives import ALTERNATIVES, Alternative
from cells import COMPARED, README, left_by
from matrix_cells import SERVERS, SHAPES
from pages import ROOT

from asgi_mpclean._check.stops import STOPS

if TYPE_CHECKING:
    from pathlib import Path

LONG = "MPC_LONG" in os.environ
TOOLS = ROOT / "tools"


def rows(page: Path) -> list[list[str]]:
    """Return the cells of all tables of a page."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_readme_has_the_cells_that_the_command_runs() -> None:
    titles = [
        [SHAPES[cell.shape].title, f"{SERVERS[cell.server].words}, {STOPS[cell.signal].title}"]
        for cell in README
    ]
    shown = [row[:2] for row in rows(ROOT / "README.md")]
    assert shown[1:] == titles


def test_the_comparison_has_the_rows_that_the_command_runs() -> None:
    shown = [row[0] for row in rows(ROOT / "docs" / "explanation" / "comparison.md")]
    assert shown[1:] == [alternative.title for alternative in ALTERNATIVES]


@pytest.mark.skipif(not LONG, reason="with --long")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("alternative", "expected"),
    [
        (ALTERNATIVES[0], "6 semaphores (exit -15)"),
        (ALTERNATIVES[1], "clean (exit -15)"),
        (ALTERNATIVES[2], "6 semaphores (exit -15)"),
        (ALTERNATIVES[-1], "clean (exit -15)"),
    ],
    ids=lambda value: value.title if isinstance(value, Alternative) else "",
)
def test_a_cell_of_the_comparison(
    alternative: Alternative, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TOOLS))
    for name, value in alternative.env.items():
        monkeypatch.setenv(name, value)
    assert left_by(alternative, COMPARED[0]) == expected


@pytest.mark.skipif(not LONG, reason="with --long")
@pytest.mark.timeout(120)
def test_the_table_of_ends_can_be_made() -> None:
    command = [sys.executable, str(TOOLS / "exits.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert "| asgi_mpclean | 2000 of 2000 saved" in done.stdout
    assert "| close() and join_thread() | it hangs |" in done.stdout
    assert "| Queue | 3 |" in done.stdout
