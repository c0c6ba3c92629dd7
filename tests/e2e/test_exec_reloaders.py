"""Reloaders that exist, through many changes: each process that they end leaves nothing behind.

There are 20 changes with `--long`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.server import Server

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm"),
    pytest.mark.timeout(300),
]

APPS = Path(__file__).parent / "apps"
CHANGES = 20 if "MPC_LONG" in os.environ else 1
ITEMS = 50
# By this variable NiceGUI takes a server for one of its own tests, and does not serve.
COMMAND = ("env", "-u", "PYTEST_CURRENT_TEST", sys.executable)


def change(file: Path) -> None:
    with file.open("a") as source:
        source.write("# changed\n")


def items(account: Path) -> list[int]:
    """Return the numbers of the items delivered, in order."""
    lines = [json.loads(line) for line in account.read_text().splitlines()]
    return [line["number"] for line in lines if "number" in line]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The apps, where they can be changed."""
    return Path(
        shutil.copytree(APPS, tmp_path / "apps", ignore=shutil.ignore_patterns("__pycache__"))
    )


def change_while_watched(words: list[str], started: str, folder: Path, account: Path) -> None:
    """Change the app whenever a reloader that uses inotify has started it, then press CTRL-C."""
    env = {"MPC_ACCOUNT": str(account)}
    with Server(sys.executable, "-m", *words, cwd=folder, env=env) as server:
        for changes in range(CHANGES + 1):
            server.wait_for_text(started, count=changes + 1)
            server.wait_until_ready()
            server.wait_until_watched(folder)
            if changes < CHANGES:
                change(folder / "restarting.py")
        server.interrupt()
        outcome = server.finish()
    assert outcome.faults == [], outcome.output
    assert items(account) == list(range(ITEMS)) * (CHANGES + 1)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_uvicorn_reload(loop: str, folder: Path, tmp_path: Path) -> None:
    words = ["uvicorn", "restarting:app", "--reload", "--port", "{port}", "--loop", loop]
    change_while_watched(words, "start 0", folder, tmp_path / "account")


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


def save_until(server: Server, file: Path, reaction: str, count: int) -> None:
    """Change the file again until a reloader that polls, and does not tell when it begins, reacts.

    What it does first is to note the present times of the files: a change before that is none.
    """

    def has_reacted() -> bool:
        change(file)
        return eventually(lambda: server.output.count(reaction) >= count, 1.5)

    assert eventually(has_reacted, 20), server.output


@pytest.mark.skipif(importlib.util.find_spec("hypercorn") is None, reason="hypercorn not installed")
def test_hypercorn_reload(folder: Path, tmp_path: Path) -> None:
    words = ["hypercorn", "restarting:app", "--reload", "--config", "hypercorn.toml"]
    words += ["--bind", "127.0.0.1:{port}"]
    env = {"MPC_ACCOUNT": str(tmp_path / "account")}
    with Server(sys.executable, "-m", *words, cwd=folder, env=env) as server:
        for changes in range(CHANGES + 1):
            server.wait_for_text("Running on", count=changes + 1)
            server.wait_until_ready()
            if changes < CHANGES:
                save_until(server, folder / "restarting.py", "lifespan ended", changes + 1)
        server.interrupt()
        outcome = server.finish()
    assert outcome.faults == [], outcome.output
    assert items(tmp_path / "account") == list(range(ITEMS)) * (CHANGES + 1)


@pytest.mark.skipif(importlib.util.find_spec("granian") is None, reason="granian not installed")
@pytest.mark.skipif(importlib.util.find_spec("watchfiles") is None, reason="granian needs it")
def test_granian_reload(folder: Path, tmp_path: Path) -> None:
    words = ["granian", "restarting:app", "--reload", "--interface", "asgi", "--port", "{port}"]
    change_while_watched(words, "Started worker-", folder, tmp_path / "account")


@pytest.mark.skipif(importlib.util.find_spec("daphne") is None, reason="daphne not installed")
@pytest.mark.skipif(importlib.util.find_spec("django") is None, reason="Django not installed")
def test_django_runserver_reload(folder: Path, tmp_path: Path) -> None:
    app = folder / "django_site.py"
    env = {"MPC_ACCOUNT": str(tmp_path / "account")}
    with Server(sys.executable, app.name, cwd=folder, env=env) as server:
        for changes in range(CHANGES + 1):
            server.wait_for_text("Starting ASGI", count=changes + 1)
            server.wait_until_ready()
            server.request(f"/put/{ITEMS}")
            if changes < CHANGES:
                save_until(server, app, "changed, reloading", changes + 1)
        # Of a CTRL-C to the group the parent, too, is told, and kills the server 0.25 s later.
        (serving,) = (line for line in server.descendants() if app.name in line)
        os.kill(int(serving.split()[0]), signal.SIGINT)
        outcome = server.finish()
    assert outcome.faults == [], outcome.output
    assert items(tmp_path / "account") == list(range(ITEMS)) * (CHANGES + 1)
