"""uvicorn on Windows, stopped by CTRL-C in its console, or restarted."""

from __future__ import annotations

import contextlib
import socket
import time
import urllib.request
from pathlib import Path

import pytest
from console import Program, ends, is_running

HERE = Path(__file__).parent


def free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
        return port


def serve(port: int, **env: str) -> Program:
    words = ("-m", "uvicorn", "win_app:app", "--port", str(port), "--app-dir", str(HERE))
    return Program(*words, "--lifespan", "on", **env)


def ask(port: int, path: str = "/") -> tuple[int, str]:
    """Return the pid of the server, and whether it is that of a restart."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        pid, restarted = answer.read().decode().split()
    return int(pid), restarted


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("queues", [f"job {number}" for number in range(5)]),
        ("blocked", [f"result {number}" for number in range(100)]),
        ("idle", []),
        ("pool", []),
    ],
)
def test_ctrl_c_ends_all_and_loses_nothing(kind: str, expected: list[str]) -> None:
    with serve(free_port(), APP_KIND=kind) as server:
        worker = int(server.read_until("worker")) if kind != "queues" else None
        server.read_until("INFO:     Uvicorn running")
        began = time.monotonic()
        server.press()
        lines = server.end()
        assert [line for line in lines if line.startswith(("job ", "result "))] == expected
        assert "app shut down" in lines
        assert not any("Traceback" in line for line in lines), lines
        # As without the library; see below.
        assert server.process.returncode == 0
        assert time.monotonic() - began < 30  # Rather than for ever; a busy machine is slow.
    assert worker is None or ends(worker)


def test_without_the_library_ctrl_c_ends_uvicorn_with_the_same_status() -> None:
    with serve(free_port(), APP_KIND="idle queues", ASGI_MPCLEAN_DISABLE="1") as server:
        server.read_until("INFO:     Uvicorn running")
        server.press()
        server.end()
        assert server.process.returncode == 0


def test_restart_in_a_server_starts_it_anew() -> None:
    port = free_port()
    with serve(port) as server:
        server.read_until("INFO:     Uvicorn running")
        first, _ = ask(port, "/restart")
        server.read_until("INFO:     Uvicorn running")
        second, restarted = ask(port)
        assert (restarted, second != first, is_running(first)) == ("yes", True, False)
        server.press(second)
        lines = server.end()
    assert lines.count("app shut down") == 2
    assert lines.count("job 4") == 2
