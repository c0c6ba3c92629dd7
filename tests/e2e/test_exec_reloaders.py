"""Reloaders that exist, through many changes: each process that they end leaves nothing behind.

There are 20 changes with `--long`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from harness import Server

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm"),
    pytest.mark.timeout(300),
]

APPS = Path(__file__).parent / "apps"
CHANGES = 20 if "MPC_LONG" in os.environ else 3
ITEMS = 50
# By this variable NiceGUI takes a server for one of its own tests, and does not serve.
COMMAND = ("env", "-u", "PYTEST_CURRENT_TEST", sys.executable)


def change(file: Path) -> None:
    with file.open("a") as source:
        source.write("# changed\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The apps, where they can be changed."""
    return Path(
        shutil.copytree(APPS, tmp_path / "apps", ignore=shutil.ignore_patterns("__pycache__"))
    )


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_uvicorn_reload(loop: str, folder: Path, tmp_path: Path) -> None:
    command = ["uvicorn", "restarting:app", "--reload", "--port", "{port}", "--loop", loop]
    env = {"MPC_ACCOUNT": str(tmp_path / "account")}
    with Server(sys.executable, "-m", *command, cwd=folder, env=env) as server:
        for changes in range(CHANGES + 1):
            server.wait_for_text("start 0", count=changes + 1)
            server.wait_until_ready()
            server.wait_until_watched(folder)
            if changes < CHANGES:
                change(folder / "restarting.py")
        server.interrupt()
        outcome = server.finish()
    assert outcome.faults == [], outcome.output
    lines = [json.loads(line) for line in (tmp_path / "account").read_text().splitlines()]
    numbers = [line["number"] for line in lines if "number" in line]
    assert numbers == list(range(ITEMS)) * (CHANGES + 1)


@pytest.mark.skipif(importlib.util.find_spec("nicegui") is None, reason="NiceGUI not installed")
def test_nicegui_reload(folder: Path) -> None:
    app = folder / "nicegui_page.py"
    with Server(*COMMAND, app.name, cwd=folder, env={"APP_RELOAD": "1"}) as server:
        for changes in range(CHANGES + 1):
            server.wait_for_text("started", count=changes + 1)
            server.wait_until_ready()
            server.wait_until_watched(folder)
            server.request(f"/put/{changes}/{changes + 1}")
            if changes < CHANGES:
                change(app)
        server.interrupt()
        outcome = server.finish()
    assert outcome.faults == [], outcome.output
    delivered = [line for line in outcome.output.splitlines() if line.startswith("item ")]
    assert delivered == [f"item {number}" for number in range(CHANGES + 1)]
