"""NiceGUI in a real window of its own, ended in each way that there is, with real items in hand.

The window is Qt's, by pywebview, on an X server without a window manager or a screen.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asgi_mpclean._check.outcome import Outcome

    Stop = Callable[[Server, str], None]

APP = Path(__file__).parent / "apps" / "nicegui_native.py"
# Nearly always within 2 s; but a busy machine needs as much for a single one of the processes.
SOON = 10.0
PATIENCE = 90.0
ITEMS = 300
# By PYTEST_CURRENT_TEST NiceGUI takes a server for one of its own tests, and does not serve.
COMMAND = ("env", "-u", "PYTEST_CURRENT_TEST", sys.executable)


def missing() -> str:
    """Return what is not installed of what these tests need, empty if nothing is."""
    names = [name for name in ("nicegui", "webview", "qtpy", "Xlib") if not is_installed(name)]
    if not is_installed("PyQt6") or not is_installed("PyQt6.QtWebEngineWidgets"):
        names.append("PyQt6-WebEngine")
    if not shutil.which("Xvfb"):
        names.append("Xvfb")
    return ", ".join(names)


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}"),
]


@pytest.fixture(scope="session")
def screen() -> Iterator[str]:
    """Start an X server on a free display, and return its name."""
    readable, writable = os.pipe()
    command = ["Xvfb", "-displayfd", str(writable), "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=[writable], stderr=subprocess.DEVNULL) as server:
        os.close(writable)
        with open(readable) as number:
            name = f":{number.readline().strip()}"
        yield name
        server.terminate()


def ctrl_c(server: Server, _screen: str) -> None:
    """Press CTRL-C."""
    server.interrupt()


def sigterm(server: Server, _screen: str) -> None:
    """Send SIGTERM to the main process alone."""
    server.signal(signal.SIGTERM)


def close(_server: Server, screen: str) -> None:
    """Close the window as its button would; there is no window manager to draw one."""
    from Xlib import X, display, protocol  # noqa: PLC0415 - skipped without

    connection = display.Display(screen)
    protocols = connection.intern_atom("WM_PROTOCOLS")
    delete = connection.intern_atom("WM_DELETE_WINDOW")

    def ask() -> bool:
        windows = connection.screen().root.query_tree().children
        found = [window for window in windows if window.get_wm_name() == APP.stem]
        for window in found:
            data = (32, [delete, X.CurrentTime, 0, 0, 0])
            message = protocol.event.ClientMessage(window=window, client_type=protocols, data=data)
            window.send_event(message)
        connection.sync()
        return bool(found)

    try:
        assert eventually(ask, 10), "no window"
    finally:
        connection.close()


def shutdown(server: Server, _screen: str) -> None:
    """Have the app call app.shutdown()."""
    server.request("/shutdown")


def start(folder: Path, screen: str, **env: str) -> Server:
    """Prepare a copy of the app, in a folder where it can be changed."""
    home = folder / "home"
    home.mkdir()
    # Not the same folder: Qt's cache in the home is called after the app, and would reload it.
    where = folder / "app"
    where.mkdir()
    shutil.copy(APP, where)
    desktop = {
        "DISPLAY": screen,
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "PYWEBVIEW_GUI": "qt",
        "QT_API": "pyqt6",
        "QT_QPA_PLATFORM": "xcb",
        "QTWEBENGINE_DISABLE_SANDBOX": "1",  # Root has none.
        "QTWEBENGINE_CHROMIUM_FLAGS": "--no-sandbox --disable-gpu",
    }
    return Server(*COMMAND, APP.name, cwd=where, env={**desktop, **env})


def wait_for_window(server: Server, *, count: int = 1) -> None:
    """Wait until the page in the window talks to the server, and a worker has begun."""
    for text in ("working", "connected", "loaded"):
        server.wait_for_text(f"{text}\n", PATIENCE, count=count)


def end(server: Server, stop: Stop, screen: str) -> Outcome:
    """End the app; the seconds count from here, as most ways are no signal."""
    asked = time.monotonic()
    stop(server, screen)
    outcome = server.finish()
    return dataclasses.replace(outcome, seconds=time.monotonic() - asked)


def own_tracebacks(outcome: Outcome, *, interrupted: bool) -> int:
    """Count the tracebacks that NiceGUI prints, with or without the library.

    A thread of NiceGUI's that sees that the window is gone ends the pools once more when the app's
    shutdown has done so. And without reload CTRL-C ends as a KeyboardInterrupt.
    """
    twice = outcome.output.count("in _kill_processes")
    return twice + (2 if interrupted and "KeyboardInterrupt" in outcome.output else 0)


def check(outcome: Outcome, *, items: int, servers: int, interrupted: bool = False) -> None:
    """Check that nothing is left, nothing is lost, and the app was ended once."""
    own = own_tracebacks(outcome, interrupted=interrupted)
    others = dataclasses.replace(outcome, tracebacks=outcome.tracebacks - own)
    assert others.faults == [], outcome.output
    delivered = re.findall(r"^item (\d+)$", outcome.output, re.MULTILINE)
    assert sorted(map(int, delivered)) == list(range(items)), outcome.output
    assert outcome.output.count("stopping\n") == servers, outcome.output
    assert "dropped" not in outcome.output
    assert outcome.seconds < SOON


@pytest.mark.parametrize(
    ("stop", "status"),
    [(ctrl_c, -signal.SIGINT), (sigterm, -signal.SIGTERM), (close, 0), (shutdown, 0)],
)
def test_window_without_reload(tmp_path: Path, screen: str, stop: Stop, status: int) -> None:
    with start(tmp_path, screen) as server:
        wait_for_window(server)
        server.request(f"/put/0/{ITEMS}")
        outcome = end(server, stop, screen)
    check(outcome, items=ITEMS, servers=1, interrupted=stop is ctrl_c)
    assert outcome.status == status


@pytest.mark.parametrize("stop", [ctrl_c, sigterm, close, shutdown])
def test_window_with_reload(tmp_path: Path, screen: str, stop: Stop) -> None:
    with start(tmp_path, screen, APP_RELOAD="1") as server:
        wait_for_window(server)
        server.request(f"/put/0/{ITEMS}")
        outcome = end(server, stop, screen)
    check(outcome, items=ITEMS, servers=1)
    assert outcome.status == 0


@pytest.mark.parametrize("stop", [ctrl_c, sigterm, close, shutdown])
def test_window_after_a_change(tmp_path: Path, screen: str, stop: Stop) -> None:
    with start(tmp_path, screen, APP_RELOAD="1") as server:
        wait_for_window(server)
        server.request(f"/put/0/{ITEMS}")
        server.wait_until_watched(tmp_path / "app")
        with (tmp_path / "app" / APP.name).open("a") as source:
            source.write("# changed\n")
        wait_for_window(server, count=2)
        server.request(f"/put/{ITEMS}/{2 * ITEMS}")
        outcome = end(server, stop, screen)
    check(outcome, items=2 * ITEMS, servers=2)
    assert outcome.status == 0


def test_closing_the_window_ends_an_app_once_that_needs_long(tmp_path: Path, screen: str) -> None:
    with start(tmp_path, screen, APP_RELOAD="1", APP_JOB="2") as server:
        wait_for_window(server)
        server.request(f"/put/0/{ITEMS}")
        outcome = end(server, close, screen)
    check(outcome, items=ITEMS, servers=1)
    assert outcome.status == 0
