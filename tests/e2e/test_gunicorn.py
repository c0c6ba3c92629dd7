"""gunicorn with uvicorn's worker: queues made by the master, or by each worker."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.server import Server
from asgi_mpclean._check.stops import terminate

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgi_mpclean._check.outcome import Outcome

    Stop = Callable[[Server], None]

APPS = Path(__file__).parent / "apps"
WORKERS = 2
SEMAPHORES_OF_A_QUEUE = 3
SOON = 4.0


def ctrl_c(server: Server) -> None:
    """Press CTRL-C: master and workers get it."""
    server.interrupt()


stopped_by = pytest.mark.parametrize("stop", [ctrl_c, terminate])


def gunicorn(*options: str, library: bool = True) -> Server:
    """Prepare gunicorn with two workers."""
    command = [sys.executable, "-m", "gunicorn", "gunicorn_app:app", "--workers", str(WORKERS)]
    command += ["--worker-class", "uvicorn_worker.UvicornWorker", "--bind", "127.0.0.1:{port}"]
    return Server(*command, *options, cwd=APPS, library=library)


def wait_for_workers(server: Server) -> set[int]:
    """Wait until every worker has answered; return their pids."""
    server.wait_for_text("Application startup complete", count=WORKERS)
    answered: set[int] = set()

    def all_answered() -> bool:
        answered.add(int(server.request("/")))
        return len(answered) == WORKERS

    assert eventually(all_answered, 20), answered
    return answered


def delivered(outcome: Outcome) -> dict[int, list[int]]:
    """Return by pid the items that its process was given at the end, in order."""
    found: dict[int, list[int]] = {}
    for item, pid in re.findall(r"^item (\d+) to (\d+)$", outcome.output, re.MULTILINE):
        found.setdefault(int(pid), []).append(int(item))
    return found


@pytest.mark.parametrize("stop", [pytest.param(ctrl_c, marks=pytest.mark.smoke), terminate])
def test_the_master_owns_what_was_preloaded(stop: Stop) -> None:
    with gunicorn("--preload") as server:
        wait_for_workers(server)
        server.request("/put/0/20")
        stop(server)
        outcome = server.finish()
        assert outcome.faults == [], outcome.output
        assert delivered(outcome) == {server.pid: list(range(20))}
        assert outcome.seconds < SOON


def test_a_worker_that_ends_takes_no_item_and_unlinks_nothing() -> None:
    with gunicorn("--preload") as server:
        workers = wait_for_workers(server)
        ended = int(server.request("/put/0/20"))
        os.kill(ended, signal.SIGTERM)
        server.wait_for_text("Application startup complete", count=WORKERS + 1)
        server.wait_for_text(f"Finished server process [{ended}]")
        assert eventually(lambda: int(server.request("/")) not in workers, 10)
        assert int(server.request("/semaphores")) == SEMAPHORES_OF_A_QUEUE
        assert int(server.request("/take")) == 0
        server.signal(signal.SIGTERM)
        outcome = server.finish()
        assert outcome.faults == [], outcome.output
        assert delivered(outcome) == {server.pid: list(range(1, 20))}


@stopped_by
def test_each_worker_owns_what_it_made_itself(stop: Stop) -> None:
    with gunicorn() as server:
        workers = wait_for_workers(server)
        first = int(server.request("/put/0/20"))
        stop(server)
        outcome = server.finish()
    assert first in workers
    assert outcome.faults == [], outcome.output
    assert delivered(outcome) == {first: list(range(20))}
    assert outcome.seconds < SOON


@stopped_by
@pytest.mark.parametrize("options", [["--preload"], []], ids=["preload", "workers"])
@pytest.mark.sampled(3)
def test_the_status_is_that_of_gunicorn_alone(stop: Stop, options: list[str]) -> None:
    statuses = []
    for library in (True, False):
        with gunicorn(*options, library=library) as server:
            wait_for_workers(server)
            stop(server)
            statuses.append(server.finish().status)
    assert statuses[0] == statuses[1]


def test_a_quick_shutdown_leaves_workers_no_time_to_be_stubborn() -> None:
    """Told twice, gunicorn kills after two seconds, and a clean-up takes up to five."""
    words = "stubborn:app --worker-class uvicorn_worker.UvicornWorker --bind 127.0.0.1:{port}"
    env = {"MPC_PROCESS": "library", "MPC_STOP": "1"}
    with Server(sys.executable, "-m", "gunicorn", *words.split(), cwd=APPS, env=env) as server:
        server.wait_for_text("worker ready")
        server.wait_until_ready()
        server.signal_group(signal.SIGTERM)
        server.wait_for_text("Shutting down")
        server.interrupt()
        outcome = server.finish()
    assert "Quick shutdown requested" in outcome.output
    assert outcome.faults == [], outcome.output


@stopped_by
def test_without_the_library_each_worker_leaks(stop: Stop) -> None:
    with gunicorn(library=False) as server:
        wait_for_workers(server)
        stop(server)
        outcome = server.finish()
    assert len(outcome.left) == 0
    assert outcome.output.count("There appear to be 6 leaked semaphore") == WORKERS
