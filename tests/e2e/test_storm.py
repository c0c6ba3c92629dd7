"""A slice of the signal storm, and with --long all of it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import storm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

SEED = 1
RUNS = 7
HERE = Path(__file__).parent


def skip_without(server: str) -> None:
    for module in [server.partition(" ")[0], *["uvicorn_worker"] * (server == "gunicorn")]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed, or not for this Python")


@pytest.mark.timeout(180)  # Several control runs may hang one after the other.
@pytest.mark.parametrize("number", range(RUNS))
@pytest.mark.sampled(3)
def test_a_signal_at_any_moment_leaves_nothing(number: int) -> None:
    shot = storm.aim(SEED, number)
    skip_without(shot.server)
    if shot.server == "granian":
        pytest.skip("its worker may block for ever at the second of two stops: README, limits")
    case = storm.shoot(shot)
    again = f"python tests/e2e/storm.py --seed {SEED} --only {number}"
    assert not case.is_bad, f"{again}\n{case.story()}"


@pytest.mark.parametrize("first", ["CTRL-C", "SIGTERM"])
def test_before_the_library_is_there_the_status_is_the_servers_own(first: str) -> None:
    shot = storm.Shot(SEED, 0, "uvicorn", "app begun", 1, 0, first, second=None, gap=0)
    run, control = storm.perform(shot), storm.perform(shot, plain=True)
    assert run.faults == control.faults == ()
    assert run.outcome.status == control.outcome.status


@pytest.mark.skipif("MPC_LONG" not in os.environ, reason="takes half an hour: --long")
@pytest.mark.timeout(7200)
def test_a_thousand_runs() -> None:
    words = [sys.executable, "storm.py", "--runs", "1000", "--seed", f"{SEED}"]
    done = subprocess.run(words, cwd=HERE, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
