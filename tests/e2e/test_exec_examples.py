"""The examples that restart themselves, many times over: nothing is refused, and nothing grows."""

from __future__ import annotations

import collections
import http.client
import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest

from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.server import Server

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm"),
    pytest.mark.timeout(240),
]

EXAMPLES = Path(__file__).parents[2] / "examples"
HOT_RELOADS = 50 if "MPC_LONG" in os.environ else 12
RESTARTS = 10
CLIENTS = 4
ENOUGH = 20


def count_all(server: Server) -> dict[str, int]:
    """Count what the server's process has, and what has come of it."""
    living = server._family.members()
    return {
        "descriptors": len(os.listdir(f"/proc/{server.pid}/fd")),
        "shared memory": len(server._shm.names()),
        "processes": sum(not process.zombie for process in living),
        "zombies": sum(process.zombie for process in living),
        "folders": len(list(Path(server._env["TMPDIR"]).iterdir())),
    }


def test_hot_reloads_leave_nothing_behind(tmp_path: Path) -> None:
    watched, temporary = tmp_path / "watched", tmp_path / "temporary"
    watched.mkdir()
    temporary.mkdir()
    command = [sys.executable, str(EXAMPLES / "hot_reload.py"), str(watched)]
    counts = []
    with Server(*command, env={"TMPDIR": str(temporary)}) as server:
        for reload in range(HOT_RELOADS + 1):
            server.wait_for_text("the first result is 0", count=reload + 1)
            server.wait_until_watched(watched)
            counts.append(count_all(server))
            if reload < HOT_RELOADS:
                (watched / f"{reload}.py").touch()
        server.interrupt()
        outcome = server.finish()
    assert outcome.faults == [], outcome.output
    assert outcome.status == 0
    assert "WARNING" not in outcome.output
    assert counts == [counts[0]] * len(counts)
    assert counts[0]["zombies"] == 0
    pids = re.findall(r"process (\d+) works", outcome.output)
    assert pids == [str(server.pid)] * (HOT_RELOADS + 1)


class Clients:
    """Ask for a page over and over, each time by a new connection, and count what becomes of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: collections.Counter[str] = collections.Counter()
        self.failures: collections.Counter[str] = collections.Counter()
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                self.answers[ask(self.port)] += 1
            except (OSError, http.client.HTTPException) as error:  # noqa: PERF203 - they go on
                self.failures[type(error).__name__] += 1

    def wait_for(self, answer: str) -> None:
        assert eventually(lambda: self.answers[answer] > ENOUGH, 20), self.failures

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(20)


def ask(port: int, method: str = "GET", path: str = "/") -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.mark.skipif("MPC_LONG" not in os.environ, reason="ten restarts take their time: --long")
def test_ten_restarts_under_load_refuse_no_connection() -> None:
    with Server(sys.executable, str(EXAMPLES / "restart_uvicorn.py")) as server:
        server.wait_until_ready()
        clients = Clients(server.port)
        try:
            for start in range(1, RESTARTS + 1):
                assert ask(server.port, "POST", "/restart") == '"restarting"'
                clients.wait_for(f'"{start + 1}"')
        finally:
            clients.stop()
        server.signal(signal.SIGTERM)
        outcome = server.finish()
    assert outcome.faults == [], outcome.output
    assert len(clients.answers) == RESTARTS + 1
    assert clients.failures == {}
