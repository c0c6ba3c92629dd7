"""Requests that wait for a worker: when that is dead, they are freed, and the server ends."""

from __future__ import annotations

import contextlib
import http.client
import signal
import threading
import time

import kit
import pytest

UVICORN = ("waiting_app:app", "--port", "{port}", "--log-level", "critical")
TIMEOUT = 1.5
SLACK = 2.5
long = pytest.mark.skipif(not kit.LONG, reason="--long")

TWICE = ("twice", (signal.SIGINT, signal.SIGINT), ())
GRACEFUL = ("graceful", (signal.SIGTERM,), ("--timeout-graceful-shutdown", "1"))
INTERRUPTED = ("interrupted", (signal.SIGINT,), ("--timeout-graceful-shutdown", "1"))
"""The server returns then, and Python waits at its exit for the threads of requests."""


@pytest.mark.parametrize(
    ("case", "registered", "stop"),
    [
        ("pool.map", True, TWICE),
        pytest.param("pool.map", False, GRACEFUL, marks=long),
        pytest.param("pool.apply", True, TWICE, marks=long),
        pytest.param("pool.imap", True, TWICE, marks=long),
        ("pool.imap", False, INTERRUPTED),
        pytest.param("pool.wait", True, GRACEFUL, marks=long),
        pytest.param("executor", True, TWICE, marks=long),
        pytest.param("executor", False, GRACEFUL, marks=long),
        pytest.param("executor", True, INTERRUPTED, marks=long),
        pytest.param("pool.map", True, INTERRUPTED, marks=long),
        pytest.param("queue", True, INTERRUPTED, marks=long),
        pytest.param("queue", True, TWICE, marks=long),
        pytest.param("queue", False, GRACEFUL, marks=long),
        pytest.param("simple", True, GRACEFUL, marks=long),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
def test_who_waits_for_a_dead_worker_is_freed(
    case: str, registered: bool, stop: tuple[str, tuple[int, ...], tuple[str, ...]]
) -> None:
    _, signals, options = stop
    env = {"CASE": case, "TIMEOUT": str(TIMEOUT), **({"REGISTERED": "1"} if registered else {})}
    with kit.running("uvicorn", *UVICORN, *options, env=env) as server:
        server.wait_for_text(kit.READY)
        server.wait_until_ready()

        def ask() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                server.request("/wait", 30)

        threading.Thread(target=ask, daemon=True).start()
        server.wait_for_text("waiting\n")
        for number, signum in enumerate(signals):
            if number:
                time.sleep(0.5)  # What comes sooner is the same CTRL-C.
            server.signal_group(signum) if signum == signal.SIGINT else server.signal(signum)
        outcome = server.finish(TIMEOUT + 6)
    if signal.SIGTERM not in signals:  # That kills in the end, be it before the last word.
        assert "freed" in outcome.output
    assert not outcome.hung
    assert outcome.seconds < TIMEOUT + SLACK
    assert not outcome.orphans
    assert not outcome.leaked
