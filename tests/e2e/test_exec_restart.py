"""A uvicorn whose app restarts it: what is under way is finished, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from asgi_mpclean._check.outcome import Outcome

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm"),
    pytest.mark.timeout(120),
]

APPS = Path(__file__).parent / "apps"
ITEMS = 50
SCRIPT = ("restarting.py",)
MODULE = ("-m", "uvicorn", "restarting:app", "--port", "{port}")


def serve(tmp_path: Path, words: tuple[str, ...] = SCRIPT, **env: str) -> Server:
    env = {"MPC_ACCOUNT": str(tmp_path / "account"), **env}
    return Server(sys.executable, *words, cwd=APPS, env=env)


def items(tmp_path: Path) -> list[tuple[int, int]]:
    """Return which start delivered which item, in order."""
    lines = [json.loads(line) for line in (tmp_path / "account").read_text().splitlines()]
    return [(line["start"], line["number"]) for line in lines if "start" in line]


def check(outcome: Outcome, tmp_path: Path, *, starts: int) -> None:
    assert outcome.faults == [], outcome.output
    assert items(tmp_path) == [(start, item) for start in range(starts) for item in range(ITEMS)]


def stop(server: Server) -> Outcome:
    server.wait_until_ready()
    server.signal(signal.SIGTERM)
    return server.finish()


@pytest.mark.parametrize(
    ("words", "where", "env"),
    [
        pytest.param(SCRIPT, "loop", {"LOOP": "asyncio"}, marks=pytest.mark.smoke),
        (SCRIPT, "thread", {"LOOP": "asyncio"}),
        (SCRIPT, "loop", {"LOOP": "uvloop"}),
        (SCRIPT, "thread", {"WRAP": "middleware"}),
        (MODULE, "loop", {}),
        (MODULE, "loop", {"MPC_WRAP": "lifespan", "MPC_METHOD": "forkserver"}),
    ],
    ids=["loop", "thread", "uvloop", "middleware", "-m uvicorn", "FastAPI lifespan"],
)
@pytest.mark.sampled(3)
def test_a_request_under_way_is_finished_first(
    words: tuple[str, ...], where: str, env: dict[str, str], tmp_path: Path
) -> None:
    with serve(tmp_path, words, **env) as server, ThreadPoolExecutor() as pool:
        for start in range(3):
            server.wait_for_text(f"start {start}")
            server.wait_until_ready()
            under_way = pool.submit(server.request, "/take-your-time")
            server.wait_for_text("slow request", count=start + 1)
            assert server.request(f"/restart/exec/{where}") == "restarting"
            assert under_way.result() == "finished"
        server.wait_for_text("start 3")
        outcome = stop(server)
    check(outcome, tmp_path, starts=4)
    if words == SCRIPT:  # The program went on to its own end each time.
        ends = ["lifespan ended 0", "returned 0", "atexit 0", "start 1", "lifespan ended 1"]
        printed = [line for line in outcome.output.splitlines() if line in ends]
        assert printed == ends


def test_what_keeps_the_process_from_ending_is_waited_for_as_long_as_the_timeout(
    tmp_path: Path,
) -> None:
    with serve(tmp_path, MPC_TIMEOUT="1") as server:
        server.wait_until_ready()
        assert server.request("/stay") == "staying"
        assert server.request("/restart/exec/loop") == "restarting"
        server.wait_for_text("start 1", timeout=10)
        outcome = stop(server)
    check(outcome, tmp_path, starts=2)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_restart_ends_it_for_good(signum: int, tmp_path: Path) -> None:
    with serve(tmp_path) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        under_way = pool.submit(server.request, "/take-your-time")
        server.wait_for_text("slow request")
        assert server.request("/restart/exec/loop") == "restarting"
        server.signal(signum)
        outcome = server.finish()
        under_way.exception(10)
    assert "start 1" not in outcome.output
    assert outcome.left == ()
    assert outcome.orphans == ()
    assert [number for _, number in items(tmp_path)] == list(range(ITEMS))


def test_by_spawn_another_process_begins_and_the_old_one_ends_clean(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        server.wait_until_ready()
        assert server.request("/restart/spawn/loop") == "restarting"
        server.wait_for_text("start 1")
        assert eventually(server._ended.is_set, 10)
        assert eventually(server.answers, 10)
        os.killpg(server.pid, signal.SIGTERM)
        server.wait_for_text("lifespan ended 1")
        assert eventually(lambda: not server.descendants(), 10)
        outcome = server.finish()
    assert outcome.status == 0
    check(outcome, tmp_path, starts=2)


@pytest.mark.parametrize(
    "words",
    [
        (*MODULE, "--workers", "2"),
        (*MODULE, "--reload"),
        ("-m", "gunicorn", "restarting:app", "-k", "uvicorn_worker.UvicornWorker", "-b:{port}"),
    ],
    ids=["uvicorn --workers", "uvicorn --reload", "gunicorn"],
)
def test_a_worker_is_told_that_its_supervisor_has_to_do_it(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    with serve(tmp_path, words) as server:
        server.wait_until_ready()
        answer = server.request("/restart/exec/loop")
        assert answer.startswith("cannot restart a worker process")
        outcome = stop(server)
    assert outcome.faults == [], outcome.output
