"""What is left to the exit ends clean there: each item is delivered, where no threads start."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest
from kit import LONG, run

from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

STOPS = {"CTRL-C": Server.interrupt, "flag": None}
STATUS = {"return": 0, "error": 1, "thread": 0, "SIGTERM": -signal.SIGTERM}

SHORT = [
    ("CTRL-C", 300, "return", "spawn"),
    ("flag", 300, "return", "spawn"),
    ("flag", 300, "SIGTERM", "spawn"),
]
ALL = [
    (stop, count, ends, method)
    for stop in STOPS
    for count in (2, 300)
    for ends in STATUS
    for method in ("spawn", "fork")
]


@pytest.mark.parametrize(("stop", "count", "ends", "method"), ALL if LONG else SHORT)
def test_each_item_is_stored(stop: str, count: int, ends: str, method: str, tmp_path: Path) -> None:
    path = tmp_path / "items.sqlite"
    words = (str(path), stop, str(count), ends)
    env = {"METHOD": method}
    outcome = run("left_to_exit.py", *words, stop=STOPS[stop], at=None, env=env)
    assert "after the server" in outcome.output
    assert outcome.status == STATUS[ends]
    assert not outcome.orphans
    assert not outcome.leaked
    assert outcome.tracebacks == (ends == "error"), outcome.output
    assert not outcome.hung
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT number FROM items ORDER BY rowid").fetchall()
    half = count // 2
    stored = [number for (number,) in rows]
    assert [n for n in stored if n < half] == list(range(half))
    assert [n for n in stored if n >= half] == list(range(half, count))
