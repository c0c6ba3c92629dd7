"""An app's own shutdown: what gets on is left alone, what does not is bounded by the timeout."""

from __future__ import annotations

import concurrent.futures
import signal
from typing import TYPE_CHECKING

import kit
import pytest

if TYPE_CHECKING:
    from asgi_mpclean._check.outcome import Outcome

UVICORN = ("uvicorn", "--port", "{port}", "--log-level", "warning")
TIMEOUT = 1.4
SLACK = 2.5
"""Seconds beyond the timeout for the server's own end, on a busy machine."""


def stop(case: str, *, library: bool, how: str = "terminate", **env: str) -> Outcome:
    program, *words = UVICORN
    with kit.running(
        program,
        "progress_app:app",
        *words,
        library=library,
        env={"CASE": case, "TIMEOUT": str(TIMEOUT), **env},
    ) as server:
        server.wait_for_text(kit.READY)
        if how == "terminate":
            server.signal(signal.SIGTERM)
        else:
            server.interrupt()
        return server.finish(12)


long = pytest.mark.skipif(not kit.LONG, reason="--long")


@pytest.mark.parametrize(
    "case",
    [
        "joins",
        pytest.param("answers", marks=long),
        pytest.param("pool", marks=long),
        pytest.param("executor", marks=long),
        "watchdog",
        pytest.param("supervisor", marks=long),
    ],
)
def test_what_gets_on_is_not_cut_short(case: str) -> None:
    with concurrent.futures.ThreadPoolExecutor() as threads:
        runs = [threads.submit(stop, case, library=library) for library in (False, True)]
        without, within = (run.result() for run in runs)
    # Without the library it says that semaphores leaked, or does not: that is a race.
    tracker = ("resource_tracker", "  warnings.warn(")  # It prints its own line as well.
    lines = kit.lines(without)
    expected = [line for line in lines if not any(word in line for word in tracker)]
    assert len(expected) > 2
    assert kit.lines(within) == expected
    assert within.status == without.status
    assert not within.orphans
    assert not within.leaked


@pytest.mark.parametrize(
    ("case", "registered"),
    [
        pytest.param("stuck", False, marks=long),
        ("deferred_executor", False),
        pytest.param("deferred_executor", True, marks=long),
        pytest.param("deferred_pool", False, marks=long),
        pytest.param("deferred_join", False, marks=long),
    ],
)
@pytest.mark.parametrize("how", [pytest.param("interrupt", marks=long), "terminate"])
def test_a_wait_in_which_nothing_moves_ends_in_time(case: str, registered: bool, how: str) -> None:
    env = {"REGISTERED": "1"} if registered else {}
    outcome = stop(case, library=True, how=how, **env)
    assert not outcome.hung
    assert outcome.seconds < TIMEOUT + SLACK
    assert not outcome.orphans
    assert not outcome.leaked
    assert "asgi_mpclean/" not in outcome.output
