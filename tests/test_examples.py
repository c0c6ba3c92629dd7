"""Each example, started and stopped as its first lines say."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from asgi_mpclean._check.outcome import Outcome

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
LONG = "MPC_LONG" in os.environ
SOON = 5.0  # As many as the clean-up may take; NiceGUI itself takes some on a busy machine.
WARNED = re.compile(r"asgi_mpclean: (?!cleaned up)")
# By this variable NiceGUI takes a server for one of its own tests, and does not serve.
COMMAND = ("env", "-u", "PYTEST_CURRENT_TEST", sys.executable)
GUNICORN = ("-m", "gunicorn", "--config", "gunicorn_conf.py", "fastapi_app:app")


@dataclasses.dataclass(frozen=True)
class Example:
    """What is done with an example.

    Attributes:
        look: The path that shows what has been done.
        expected: What it shows then.
        work: The path that hands work in; None if there is nothing to hand in.
        printed: What is printed by the end.
        command: How it is started, if not as a script.
    """

    look: str | None = None
    expected: str = ""
    work: str | None = "/jobs/7"
    printed: str = ""
    command: tuple[str, ...] = ()


RUN = {
    "fastapi_app.py": Example("/status", "49"),
    "starlette_app.py": Example("/total", "7", work="/add/7"),
    "nicegui_app.py": Example("/finished", "7 squared is 49"),
    "litestar_app.py": Example("/finished", "49"),
    "quart_app.py": Example("/finished", "49"),
    "django_app.py": Example("/finished", "49"),
    "asgi_app.py": Example(printed="left: /jobs/7"),
    "gunicorn_conf.py": Example("/status", "49", command=GUNICORN),
    "executor_app.py": Example("/square/7", "49"),
    "camera_frames.py": Example("/frame", '"brightness":2', work=None),
    "model_batches.py": Example("/predict/7", "49", work=None),
    "logging_app.py": Example(printed="the worker ends"),
}
ELSEWHERE = {"hot_reload.py", "restart_uvicorn.py"}
"""In tests/e2e/test_exec_examples.py."""

QUICK = {"fastapi_app.py", "starlette_app.py", "nicegui_app.py", "asgi_app.py"}
"""Those that run without `--long` as well."""


def post(server: Server, path: str) -> None:
    """Hand work in."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 202


def run(name: str, example: Example) -> Outcome:
    """Start an example, hand work in, wait for its result, hand more work in, and press CTRL-C."""
    look, command = example.look, example.command or (name,)
    with Server(*COMMAND, *command, cwd=EXAMPLES) as server:
        server.wait_until_ready()
        if example.work is not None:
            post(server, example.work)
        if look is not None:
            shown = eventually(lambda: example.expected in server.request(look), 20)
            assert shown, server.output
        if example.work is not None:
            for _ in range(20):
                post(server, example.work)
        server.interrupt()
        return server.finish(timeout=10)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "example"),
    [
        pytest.param(
            name,
            example,
            id=name,
            marks=[pytest.mark.smoke]
            if LONG or name in QUICK
            else [pytest.mark.skip(reason="with --long")],
        )
        for name, example in RUN.items()
    ],
)
def test_example_ends_clean(name: str, example: Example) -> None:
    outcome = run(name, example)
    assert outcome.faults == [], outcome.output
    assert not WARNED.search(outcome.output)
    assert example.printed in outcome.output
    assert outcome.seconds < SOON
    assert outcome.status == 0  # as uvicorn.run ends after CTRL-C


@pytest.mark.timeout(120)
@pytest.mark.skipif(not LONG, reason="with --long")
def test_the_test_suite_passes() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    env = {**os.environ, "PYTEST_ADDOPTS": ""}
    folder = EXAMPLES / "test_suite"
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout, done.stdout


def test_each_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*RUN, *ELSEWHERE}
