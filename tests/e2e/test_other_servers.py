"""Real apps under the other servers, stopped by real signals: clean, in time, and nothing lost.

What uvicorn_cases.py says about uvicorn holds here: exit status and time are those of the same
server without the library.

Not in the tables, as daphne runs no lifespan: apps that do all their work in one; granian and
CTRL-C, at which its worker may block for ever (README, limits): the matrix and the storm have that,
with runs without the library beside them. And hypercorn's
workers may have children only where its configuration says `daemon = false`, or with `--workers 0`,
where its main process serves.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import TYPE_CHECKING

import pytest
from uvicorn_cases import (
    CTRL_C,
    CTRL_C_TWICE,
    ITEMS,
    JOBS,
    SIGTERM,
    Account,
    Case,
    cases,
    check,
    run,
    started,
    stop,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

NO_DAEMONS = "--config hypercorn.toml"
# On uvloop granian never notices a signal that comes just when a worker has started, with the
# library or without, and only the first worker to answer is known to be further.
GRANIANS = "--workers 2 --loop asyncio"


@pytest.fixture(autouse=True)
def _installed(case: Case) -> None:
    if importlib.util.find_spec(case.server) is None:
        pytest.skip(f"{case.server} is not installed, or not for this Python")
    if case.server == "gunicorn" and importlib.util.find_spec("gunicorn.workers.gasgi") is None:
        pytest.skip("this gunicorn has no ASGI worker of its own")


@cases(
    Case("idle", SIGTERM, server="hypercorn"),
    Case("idle", SIGTERM, "-k trio", server="hypercorn"),
    Case("idle", CTRL_C, "--workers 3", server="hypercorn"),
    Case("idle", CTRL_C_TWICE, "--workers 3", server="hypercorn"),
    Case("idle", SIGTERM, "--workers 3", server="hypercorn", registered=False),
    Case("idle", SIGTERM, GRANIANS, server="granian", registered=False),
    Case("idle", CTRL_C, server="daphne", registered=False),
    Case("idle", SIGTERM, "--workers 2", server="gunicorn", registered=False),
    smoke=(Case("idle", CTRL_C, server="daphne"),),
)
def test_idle_queues_leave_nothing(case: Case, tmp_path: Path) -> None:
    """Two queues that nobody uses."""
    outcome, account = run(case, tmp_path)
    check(case, outcome)
    assert not any(account.total("dropped"))


@cases(
    Case("backlog", CTRL_C, "-k trio", server="hypercorn"),
    Case("backlog", CTRL_C_TWICE, "--workers 3", server="hypercorn"),
    Case("backlog", SIGTERM, server="granian"),
    Case("backlog", SIGTERM, GRANIANS, server="granian"),
    Case("backlog", SIGTERM, server="gunicorn"),
    Case("backlog", CTRL_C_TWICE, server="gunicorn"),
    smoke=(Case("backlog", SIGTERM, "--workers 3", server="hypercorn"),),
)
def test_backlog_is_delivered_in_order(case: Case, tmp_path: Path) -> None:
    """10,000 items that nobody has read, most of them not even in the pipe yet."""
    outcome, account = run(case, tmp_path)
    check(case, outcome)
    assert account.numbers("item") == [list(range(ITEMS))] * case.copies
    assert not any(account.total("dropped"))


@cases(
    Case("full_results", CTRL_C, "--workers 0", server="hypercorn", asked=True),
    Case("full_results", SIGTERM, NO_DAEMONS, server="hypercorn", asked=True, worker="plain"),
    Case("full_results", CTRL_C, f"{NO_DAEMONS} -k trio", server="hypercorn", asked=True),
    Case("full_results", SIGTERM, f"{NO_DAEMONS} --workers 3", server="hypercorn", asked=True),
    Case("full_results", CTRL_C, server="gunicorn", asked=True),
    Case("full_results", CTRL_C_TWICE, server="gunicorn", asked=True),
    smoke=(
        Case("full_results", SIGTERM, server="granian", asked=True, worker="plain"),
        Case("full_results", SIGTERM, server="gunicorn", asked=True, worker="plain"),
    ),
)
def test_no_job_and_no_result_is_lost(case: Case, tmp_path: Path) -> None:
    """A worker stuck because nobody reads its results: each job comes back, done or not."""
    outcome, account = run(case, tmp_path)
    check(case, outcome)
    assert account.sorted_numbers("job", "result") == sorted([*range(JOBS)] * case.copies)
    assert not any(account.total("dropped"))


@cases(
    Case("full_results", CTRL_C, NO_DAEMONS, server="hypercorn", registered=False, worker="plain"),
)
def test_what_nobody_registered_is_counted_where_no_signal_tells(
    case: Case, tmp_path: Path
) -> None:
    """hypercorn's main process tells its workers to stop, which ignore CTRL-C."""
    outcome, account = run(case, tmp_path)
    check(case, outcome)
    assert sum(account.total("dropped")) == JOBS


@cases(
    Case("stubborn", CTRL_C, server="gunicorn", timeout=2),
    Case("stubborn", SIGTERM, server="granian", worker="plain", timeout=2),
)
def test_stubborn_worker_is_killed_and_reported_once(case: Case, tmp_path: Path) -> None:
    """A worker that ignores SIGTERM and CTRL-C; gunicorn cancels the lifespan after a second."""
    outcome, account = run(case, tmp_path)
    check(case, outcome)
    assert re.findall(r"\bkilled\b", outcome.output)
    assert len(account.reports()) == 1


@pytest.mark.skipif(importlib.util.find_spec("django") is None, reason="Django is not installed")
@cases(
    Case("django_site", CTRL_C, server="daphne"),
    Case("django_site", SIGTERM, server="daphne"),
)
def test_where_no_lifespan_is_run_the_exit_cleans_up(case: Case, tmp_path: Path) -> None:
    """Items and a worker from requests, under a server that tells the app nothing."""
    path = tmp_path / "account"
    with started(case, path) as server:
        server.request(f"/put/{ITEMS}")
        server.request("/work")
        stop(server, case.how)
        outcome = server.finish(case.timeout + 10)
    check(case, outcome)
    assert Account(path).numbers("item") == [list(range(ITEMS))]
