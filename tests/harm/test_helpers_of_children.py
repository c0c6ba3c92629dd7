"""The queues of managers are emptied, and workers may have workers."""

from __future__ import annotations

import importlib.util
import re
import signal
from typing import TYPE_CHECKING

import kit
import pytest

if TYPE_CHECKING:
    from asgi_mpclean._check.outcome import Outcome

UVICORN = ("children_app:app", "--port", "{port}", "--log-level", "warning")
TIMEOUT = 3.0
ITEMS = 200
QUICK = 1.9
"""Seconds that an end takes for which nobody has to be waited."""
long = pytest.mark.skipif(not kit.LONG, reason="--long")
both_signals = pytest.mark.parametrize(
    "stop", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=long)], ids=lambda stop: stop.name
)


def end(case: str, stop: int, *, registered: bool, method: str = "spawn") -> Outcome:
    env = {"CASE": case, "TIMEOUT": str(TIMEOUT), "METHOD": method, "LOUD": "1"}
    env |= {"REGISTERED": "1"} if registered else {}
    with kit.running("uvicorn", *UVICORN, env=env) as server:
        server.wait_for_text(kit.READY, 30)
        server.interrupt() if stop == signal.SIGINT else server.signal(stop)
        outcome = server.finish(TIMEOUT + 6)
    assert not outcome.hung
    assert not outcome.orphans
    assert not outcome.leaked, outcome.output
    return outcome


@both_signals
@pytest.mark.parametrize("case", ["managed", pytest.param("managed, joinable", marks=long)])
def test_a_registered_queue_of_a_manager_is_drained(case: str, stop: int) -> None:
    outcome = end(case, stop, registered=True)
    assert "GOT True" in outcome.output, outcome.output
    assert "dropped" not in outcome.output


@both_signals
@pytest.mark.parametrize(
    "case", [pytest.param("managed", marks=long), pytest.param("managed, joinable", marks=long)]
)
def test_what_is_left_in_an_unregistered_one_is_counted(case: str, stop: int) -> None:
    outcome = end(case, stop, registered=False)
    assert re.search(rf"\b{ITEMS} items", outcome.output), outcome.output


@both_signals
@pytest.mark.parametrize("registered", [True, pytest.param(False, marks=long)])
@pytest.mark.parametrize(
    "case",
    [
        "executor",
        pytest.param("busy_executor", marks=long),
        pytest.param("executor_block", marks=long),
        pytest.param("pool", marks=long),
        pytest.param("child", marks=long),
        pytest.param("registered_child", marks=long),
        pytest.param("joblib", marks=long),
    ],
)
def test_a_worker_that_has_workers_ends_quickly(case: str, registered: bool, stop: int) -> None:
    if importlib.util.find_spec(case) is None and case == "joblib":
        pytest.skip("joblib is not installed")
    if case == "joblib" and not registered:
        pytest.skip("a plain process dies of SIGTERM at once, and loky's own tracker says so")
    outcome = end(case, stop, registered=registered)
    assert "killed" not in outcome.output, outcome.output
    assert outcome.seconds < QUICK
