"""Queues that carry log records end last: each line arrives, and no traceback, then or later."""

from __future__ import annotations

import re
import signal

import kit
import pytest

TIMEOUT = 2.0
SLACK = 2.5
long = pytest.mark.skipif(not kit.LONG, reason="--long")
WORKER = ["worker begins", "worker ends"]


@pytest.mark.parametrize(
    ("case", "registered", "inside", "stop"),
    [
        ("process", True, False, signal.SIGTERM),
        ("process", False, False, signal.SIGINT),
        ("worker logs too", True, False, signal.SIGINT),
        ("listener stopped", False, True, signal.SIGTERM),
        ("listener until the exit", False, False, signal.SIGINT),
        *(
            pytest.param(*cell, stop, marks=long)
            for stop in (signal.SIGINT, signal.SIGTERM)
            for cell in [
                ("process", True, False),
                ("process", False, False),
                ("process", True, True),
                ("worker logs too", True, False),
                ("own handler", False, True),
                ("joinable", True, False),
                ("simple", False, False),
                ("listener", False, True),
                ("listener", True, False),
                ("listener stopped", False, True),
                ("listener stopped", True, True),
                ("listener until the exit", False, False),
            ]
        ),
    ],
)
def test_log_queues_end_last(case: str, registered: bool, inside: bool, stop: int) -> None:
    env = {"CASE": case, "TIMEOUT": str(TIMEOUT)}
    env |= {"REGISTERED": "1"} if registered else {}
    env |= {"INSIDE": "1"} if inside else {}
    with kit.running("log_app.py", env=env) as server:
        server.wait_for_text(kit.READY)
        server.wait_until_ready()
        assert server.request("/log") == "logged"
        server.wait_for_text("LOG line 3\n")  # Whoever reads has begun.
        if case == "worker logs too":
            server.wait_for_text("LOG worker begins\n")
        server.signal_group(stop) if stop == signal.SIGINT else server.signal(stop)
        outcome = server.finish(TIMEOUT + 6)
    assert "Logging error" not in outcome.output
    assert not outcome.tracebacks, outcome.output
    lines = re.findall(r"^LOG line (\d)$", outcome.output, re.MULTILINE)
    assert lines == list("12345"), outcome.output
    if case == "worker logs too":
        assert re.findall(r"^LOG (worker \w+)$", outcome.output, re.MULTILINE) == WORKER
    assert not outcome.hung
    assert outcome.seconds < TIMEOUT + SLACK
    assert (outcome.status, outcome.orphans) == (3 if stop == signal.SIGINT else -stop, ())
    assert not outcome.leaked
