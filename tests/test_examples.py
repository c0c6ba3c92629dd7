"""Each example, started and stopped as its first lines say."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asgi_mpclean._check.server import Server, eventually

if TYPE_CHECKING:
    from asgi_mpclean._check.outcome import Outcome

EXAMPLES = Path(__file__).parents[1] / "examples"
SOON = 3.0
# By this variable NiceGUI takes a server for one of its own tests, and does not serve.
COMMAND = ("env", "-u", "PYTEST_CURRENT_TEST", sys.executable)


def post(server: Server, path: str) -> None:
    """Hand work in."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 202


def run(example: str, work: str, look: str, expected: str) -> Outcome:
    """Start an example, hand work in, wait for its result, hand more work in, and press CTRL-C."""
    with Server(*COMMAND, str(EXAMPLES / example)) as server:
        server.wait_until_ready()
        post(server, work)
        assert eventually(lambda: expected in server.request(look), 20), server.output
        for _ in range(20):
            post(server, work)
        server.interrupt()
        return server.finish(timeout=10)


@pytest.mark.smoke
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("example", "work", "look", "expected"),
    [
        ("fastapi_app.py", "/jobs/7", "/status", "49"),
        ("starlette_app.py", "/add/7", "/total", "7"),
        ("nicegui_app.py", "/jobs/7", "/finished", "7 squared is 49"),
    ],
)
def test_example_ends_clean(example: str, work: str, look: str, expected: str) -> None:
    outcome = run(example, work, look, expected)
    assert outcome.faults == [], outcome.output
    assert "WARNING" not in outcome.output
    assert outcome.seconds < SOON
    assert outcome.status == 0  # as uvicorn.run ends after CTRL-C
