"""Real apps under a real uvicorn, stopped by real signals: clean, in time, and nothing lost.

One thing is beyond any library: CTRL-C reaches the whole process group, and a plain
``multiprocessing.Process`` then prints a KeyboardInterrupt traceback of its own. The cases with a
worker and CTRL-C use the library's ``Process``, which does not, but for the few that say "plain".
"""

from __future__ import annotations

import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from uvicorn_cases import (
    APPS,
    CTRL_C,
    CTRL_C_THEN_SIGTERM,
    CTRL_C_TWICE,
    CTRL_C_TWICE_FAST,
    ITEMS,
    JOBS,
    SIGHUP,
    SIGQUIT,
    SIGTERM,
    SIGTERM_TO_ALL,
    SIGTERM_TWICE,
    Account,
    Case,
    allowed_tracebacks,
    cases,
    check,
    run,
    started,
    stop,
    wait_until_served,
)

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")


@cases(
    Case("idle", CTRL_C),
    Case("idle", CTRL_C, registered=False, method="forkserver"),
    Case("idle", CTRL_C, pty=True),
    Case("idle", CTRL_C, "--loop uvloop", wrap="middleware"),
    Case("idle", CTRL_C, "--reload", wrap="lifespan"),
    Case("idle", CTRL_C, "--workers 2", registered=False),
    Case("idle", CTRL_C, "--workers 2", method="fork"),
    Case("idle", SIGTERM, wrap="lifespan"),
    Case("idle", SIGTERM, wrap="middleware", registered=False),
    Case("idle", SIGTERM, wrap="bare"),
    Case("idle", SIGTERM, wrap="bare", registered=False),
    Case("idle", SIGTERM, "--lifespan off"),
    Case("idle", SIGTERM, method="fork"),
    Case("idle", SIGTERM, method="forkserver"),
    Case("idle", SIGTERM, pty=True),
    Case("idle", SIGTERM, "--loop uvloop"),
    Case("idle", SIGTERM, "--reload", method="fork"),
    Case("idle", SIGTERM, "--workers 2", wrap="lifespan"),
    Case("idle", SIGTERM_TO_ALL, "--workers 2"),
    Case("idle", SIGTERM_TO_ALL, "--reload"),
    Case("idle", SIGTERM_TWICE),
    Case("idle", CTRL_C_THEN_SIGTERM),
    Case("idle", SIGHUP),
    Case("idle", SIGHUP, registered=False),
    Case("idle", SIGQUIT),
    smoke=(
        Case("idle", SIGTERM),
        Case("idle", SIGTERM, registered=False),
        Case("idle", SIGTERM, "--workers 2"),
        Case("idle", CTRL_C, "--reload"),
    ),
)
@pytest.mark.sampled(2)
def test_idle_queues_leave_nothing(case: Case, tmp_path: Path) -> None:
    """Two queues that nobody uses; without the library they leak in most of these cases."""
    outcome, account = run(case, tmp_path)
    check(case, outcome)
    if "--lifespan off" not in case.flags:  # without a lifespan, nobody is there to be told
        assert account.total("dropped") == [0] * case.copies


@cases(
    Case("backlog", CTRL_C, wrap="lifespan"),
    Case("backlog", CTRL_C, method="fork"),
    Case("backlog", CTRL_C, "--reload"),
    Case("backlog", SIGTERM, method="forkserver"),
    Case("backlog", SIGTERM, "--loop uvloop", wrap="middleware"),
    Case("backlog", SIGTERM, "--workers 2"),
    Case("backlog", SIGHUP),
    Case("backlog", CTRL_C_TWICE_FAST),
    Case("backlog", CTRL_C_TWICE, "--loop uvloop"),
    smoke=(Case("backlog", CTRL_C), Case("backlog", SIGTERM)),
)
@pytest.mark.sampled(2)
def test_backlog_is_delivered_in_order(case: Case, tmp_path: Path) -> None:
    """10,000 items that nobody has read, most of them not even in the pipe yet."""
    outcome, account = run(case, tmp_path)
    tracebacks = allowed_tracebacks(case) if "twice" in case.how else 0
    check(case, outcome, tracebacks=tracebacks)
    assert account.numbers("item") == [list(range(ITEMS))] * case.copies
    assert account.total("delivered") == [ITEMS] * case.copies
    assert account.total("dropped") == [0] * case.copies


@cases(
    Case("backlog", CTRL_C, registered=False, wrap="middleware"),
    Case("backlog", SIGTERM, registered=False, method="fork"),
    Case("backlog", SIGTERM, "--workers 2", registered=False),
    Case("backlog", SIGTERM, "--reload", registered=False, method="forkserver"),
    smoke=(Case("backlog", SIGTERM, registered=False),),
)
def test_unregistered_backlog_is_dropped_and_told(case: Case, tmp_path: Path) -> None:
    """Nobody is there to get the items: their number is told to the user."""
    outcome, account = run(case, tmp_path)
    check(case, outcome)
    assert account.total("dropped") == [ITEMS] * case.copies
    assert account.total("delivered") == [0] * case.copies
    assert len(re.findall(r"\b10[,_]?000\b", outcome.output)) >= case.copies


@cases(
    Case("full_results", CTRL_C, asked=True, wrap="lifespan"),
    Case("full_results", CTRL_C, asked=True, method="forkserver"),
    Case("full_results", CTRL_C, asked=True, pty=True),
    Case("full_results", CTRL_C, "--reload", asked=True, method="fork"),
    Case("full_results", SIGTERM, asked=True, worker="plain"),
    Case("full_results", SIGTERM, asked=True, worker="plain", method="fork"),
    Case("full_results", SIGTERM, "--workers 2", asked=True, worker="plain"),
    Case("full_results", SIGTERM, "--loop uvloop", asked=True, wrap="middleware"),
    Case("full_results", SIGTERM, "--reload", asked=True, worker="plain"),
    Case("full_results", SIGTERM, worker="plain", timeout=2),
    Case("full_results", SIGTERM, timeout=2),
    Case("full_results", CTRL_C, timeout=2, method="fork"),
    Case("full_results", SIGTERM, asked=True, env=(("MPC_JOB_SECONDS", "0.005"),)),
    Case("full_results", CTRL_C, asked=True, env=(("MPC_JOB_SECONDS", "0.005"),)),
    Case(
        "full_results",
        SIGTERM,
        asked=True,
        worker="plain",
        env=(("MPC_RESULTS_SIZE", "10"),),
    ),
    Case("full_results", CTRL_C, asked=True, env=(("MPC_RESULTS_SIZE", "10"),)),
    smoke=(
        Case("full_results", CTRL_C, asked=True),
        Case("full_results", SIGTERM, asked=True, worker="plain", wrap="lifespan"),
    ),
)
@pytest.mark.sampled(2)
def test_no_job_and_no_result_is_lost(case: Case, tmp_path: Path) -> None:
    """A worker stuck because nobody reads its results: each job comes back, done or not."""
    outcome, account = run(case, tmp_path)
    check(case, outcome)
    for numbers in account.numbers("job") + account.numbers("result"):
        assert numbers == sorted(numbers)
    assert account.sorted_numbers("job", "result") == sorted([*range(JOBS)] * case.copies)
    assert account.total("delivered") == [JOBS] * case.copies


@cases(
    Case("full_results", SIGTERM, registered=False, worker="plain", timeout=2),
    Case("full_results", SIGTERM, registered=False, worker="plain", timeout=2, method="forkserver"),
    Case("full_results", SIGTERM, "--workers 2", registered=False, worker="plain", timeout=2),
    Case("full_results", SIGTERM, "--reload", registered=False, worker="plain", timeout=2),
    Case("full_results", CTRL_C, registered=False, timeout=2),
    Case("full_results", SIGTERM_TO_ALL, worker="plain", timeout=2, asked=True),
    Case("full_results", SIGTERM_TO_ALL, timeout=2, asked=True),
)
def test_worker_that_is_not_asked_ends_as_well(case: Case, tmp_path: Path) -> None:
    """A worker that nobody registered, or that something else has killed already."""
    outcome, account = run(case, tmp_path)
    check(case, outcome)
    assert len(account.reports()) == case.copies


@cases(
    Case("full_results", CTRL_C, asked=True, worker="plain"),
    Case("full_results", CTRL_C, worker="plain", timeout=2, method="forkserver"),
    Case("full_results", CTRL_C, registered=False, worker="plain", timeout=2),
    Case("full_results", CTRL_C, "--reload", asked=True, worker="plain"),
)
def test_plain_worker_prints_its_own_keyboard_interrupt_only(case: Case, tmp_path: Path) -> None:
    """The terminal interrupts a plain worker as well, and it says so; there is nothing else."""
    outcome, account = run(case, tmp_path)
    check(case, outcome, tracebacks=1)
    assert outcome.output.count("\nKeyboardInterrupt") == outcome.tracebacks
    if case.registered:
        assert account.sorted_numbers("job", "result") == list(range(JOBS))


@cases(
    Case("stubborn", CTRL_C, worker="plain", timeout=2),
    Case("stubborn", CTRL_C, "--loop uvloop", timeout=2, registered=False),
    Case("stubborn", CTRL_C, "--workers 2", worker="plain", timeout=2, registered=False),
    Case("stubborn", CTRL_C_TWICE, worker="plain", timeout=2),
    Case("stubborn", SIGTERM, timeout=2, asked=True),
    Case("stubborn", SIGTERM, worker="plain", timeout=2, method="fork"),
    Case("stubborn", SIGTERM, worker="plain", timeout=2, method="forkserver", registered=False),
    Case("stubborn", SIGTERM, worker="plain", timeout=2, wrap="lifespan", registered=False),
    Case("stubborn", SIGTERM, "--reload", worker="plain", timeout=2),
    smoke=(Case("stubborn", SIGTERM, worker="plain", timeout=1),),
)
def test_stubborn_worker_is_killed(case: Case, tmp_path: Path) -> None:
    """A worker that ignores SIGTERM and CTRL-C: killed in time, with what it made itself."""
    outcome, _account = run(case, tmp_path)
    tracebacks = allowed_tracebacks(case) if "twice" in case.how else 0
    check(case, outcome, tracebacks=tracebacks)
    assert len(re.findall(r"\bkilled\b", outcome.output)) >= case.copies


@cases(
    Case("backlog", CTRL_C, "--reload"),
    Case("backlog", SIGTERM, "--reload", wrap="lifespan", method="forkserver"),
    Case("full_results", SIGTERM, "--reload", asked=True, worker="plain"),
    Case("idle", SIGTERM, "--reload", registered=False),
    Case("stubborn", CTRL_C, "--reload", worker="plain", timeout=1),
)
def test_reload_after_a_file_change(case: Case, tmp_path: Path) -> None:
    """The app of before the change is cleaned up as the last one is."""
    folder = tmp_path / "apps"
    shutil.copytree(APPS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "account"
    with started(case, path, folder) as server:
        server.wait_until_watched(folder)
        with (folder / f"{case.app}.py").open("a") as source:
            source.write("# changed\n")
        wait_until_served(server, case, times=2)
        stop(server, case.how)
        outcome = server.finish(case.timeout + 10)
    check(case, outcome)
    account = Account(path)
    assert len(account.reports()) == 2
    if case.app == "backlog":
        assert account.numbers("item") == [list(range(ITEMS))] * 2
    if case.app == "full_results":
        assert account.sorted_numbers("job", "result") == sorted([*range(JOBS)] * 2)
