"""Pools of other packages: nothing is printed that is not printed without us; nothing is left."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import signal
from collections import Counter
from typing import TYPE_CHECKING

import kit
import pytest

if TYPE_CHECKING:
    from asgi_mpclean._check.outcome import Outcome

UVICORN = ("relatives_app:app", "--port", "{port}", "--log-level", "warning")
TIMEOUT = 3.0
SLACK = 2.5
INTERRUPTED = ("Process ", "Traceback ", "KeyboardInterrupt", "Exception ignored ")
long = pytest.mark.skipif(not kit.LONG, reason="--long")


def stop(case: str, *, used: bool, signum: int, library: bool) -> Outcome:
    env = {"CASE": case, "TIMEOUT": str(TIMEOUT), "LOUD": "1", **({"USE": "1"} if used else {})}
    with kit.running("uvicorn", *UVICORN, env=env, library=library) as server:
        server.wait_for_text(kit.READY, 30)
        if signum == signal.SIGINT:
            server.interrupt()
        else:
            server.signal(signum)
        return server.finish(8)


def complaints(outcome: Outcome) -> Counter[str]:
    """Return what is neither a tracker's warning nor what a worker says of the CTRL-C."""
    text = [line for line in kit.lines(outcome) if "resource_tracker" not in line]
    if "KeyboardInterrupt" in text:  # Which of them say so, and where they are then, is a race.
        text = [line for line in text if not line.startswith(INTERRUPTED)]
    return Counter(line for line in text if not line.startswith((" ", "INFO")))


@pytest.mark.parametrize(
    ("package", "case"),
    [
        ("billiard", "billiard"),
        pytest.param("multiprocess", "multiprocess", marks=long),
        pytest.param("multiprocess", "multiprocess_queue", marks=long),
        pytest.param("loky", "loky", marks=long),
        ("joblib", "joblib"),
        pytest.param("joblib", "joblib_multiprocessing", marks=long),
        pytest.param("pebble", "pebble", marks=long),
        pytest.param("mpire", "mpire", marks=long),
        pytest.param("aiomultiprocess", "aiomultiprocess", marks=long),
        ("apscheduler", "apscheduler"),
    ],
)
@pytest.mark.parametrize("used", [True, pytest.param(False, marks=long)], ids=["used", "starting"])
@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=long)], ids=lambda s: s.name
)
def test_a_relative_ends_as_well(package: str, case: str, used: bool, signum: int) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    with concurrent.futures.ThreadPoolExecutor() as threads:
        runs = [
            threads.submit(stop, case, used=used, signum=signum, library=library)
            for library in (False, True)
        ]
        without, within = (run.result() for run in runs)
    if not without.hung:
        assert not complaints(within) - complaints(without), within.output
        assert within.status == without.status
    assert "a step of the clean-up failed" not in within.output
    assert not within.hung
    assert within.seconds < TIMEOUT + SLACK
    assert not within.orphans
    if case != "billiard":  # It has a tracker of its own, and leaks where it is alone as well.
        assert not within.leaked, within.output
