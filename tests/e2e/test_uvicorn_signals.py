"""A uvicorn that is stopped twice, before it serves, or in the middle of a request."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from uvicorn_cases import (
    CTRL_C,
    CTRL_C_TWICE,
    CTRL_C_TWICE_FAST,
    ITEMS,
    JOBS,
    SIGTERM,
    Case,
    allowed_tracebacks,
    cases,
    check,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")


@cases(
    Case("idle", CTRL_C_TWICE_FAST),
    Case("idle", CTRL_C_TWICE_FAST, registered=False, wrap="lifespan"),
    Case("idle", CTRL_C_TWICE_FAST, pty=True),
    Case("idle", CTRL_C_TWICE_FAST, "--loop uvloop"),
    Case("idle", CTRL_C_TWICE_FAST, "--reload"),
    Case("idle", CTRL_C_TWICE_FAST, "--workers 2", method="forkserver"),
    Case("idle", CTRL_C_TWICE),
    Case("idle", CTRL_C_TWICE, "--loop uvloop", registered=False),
    Case("idle", CTRL_C_TWICE, "--reload", wrap="middleware"),
    Case("idle", CTRL_C_TWICE, "--workers 2"),
)
def test_ctrl_c_twice(case: Case, tmp_path: Path) -> None:
    """An impatient user; uvicorn then prints tracebacks of its own and skips the lifespan's end."""
    outcome, _account = run(case, tmp_path)
    check(case, outcome, tracebacks=allowed_tracebacks(case))


@cases(
    Case("idle", CTRL_C, moment="importing"),
    Case("idle", CTRL_C, moment="importing", registered=False),
    Case("idle", CTRL_C, "--reload", moment="importing"),
    Case("idle", SIGTERM, moment="importing", wrap="lifespan"),
    Case("idle", SIGTERM, moment="importing", method="forkserver"),
    Case("idle", SIGTERM, "--loop uvloop", moment="importing"),
    Case("idle", SIGTERM, "--reload", moment="importing"),
    Case("idle", SIGTERM, "--workers 2", moment="importing"),
    Case("idle", CTRL_C_TWICE_FAST, moment="importing"),
    Case("idle", CTRL_C_TWICE, moment="importing"),
    Case("idle", CTRL_C, moment="starting"),
    Case("idle", CTRL_C, moment="starting", registered=False, wrap="middleware"),
    Case("idle", CTRL_C, "--loop uvloop", moment="starting"),
    Case("idle", CTRL_C, "--reload", moment="starting"),
    Case("idle", SIGTERM, moment="starting"),
    Case("idle", SIGTERM, moment="starting", registered=False, wrap="lifespan"),
    Case("idle", SIGTERM, "--reload", moment="starting"),
    Case("idle", SIGTERM, "--workers 2", moment="starting", registered=False),
    Case("idle", CTRL_C_TWICE_FAST, moment="starting"),
    Case("idle", CTRL_C_TWICE, "--loop uvloop", moment="starting"),
    smoke=(Case("idle", SIGTERM, moment="importing"),),
)
@pytest.mark.sampled(2)
def test_stopped_before_it_serves(case: Case, tmp_path: Path) -> None:
    """The queues are there already while the app is imported, and the library may not be yet."""
    outcome, _account = run(case, tmp_path)
    check(case, outcome, tracebacks=allowed_tracebacks(case))


@cases(
    Case("idle", CTRL_C_TWICE, moment="request"),
    Case("idle", CTRL_C_TWICE_FAST, moment="request", wrap="lifespan"),
    Case("idle", CTRL_C_TWICE, "--loop uvloop", moment="request", registered=False),
    Case("backlog", CTRL_C_TWICE, moment="request"),
    Case("full_results", CTRL_C_TWICE, moment="request", asked=True),
    Case("stubborn", CTRL_C_TWICE, moment="request", worker="plain", timeout=2),
    Case("idle", CTRL_C, "--timeout-graceful-shutdown 1", moment="request"),
    Case("idle", SIGTERM, "--timeout-graceful-shutdown 1", moment="request", registered=False),
    Case("backlog", SIGTERM, "--timeout-graceful-shutdown 1", moment="request"),
    Case("full_results", SIGTERM, "--timeout-graceful-shutdown 1", moment="request", asked=True),
)
def test_request_still_running(case: Case, tmp_path: Path) -> None:
    """A request that does not end: forced by a second CTRL-C, or by uvicorn's own time limit."""
    outcome, account = run(case, tmp_path)
    check(case, outcome, tracebacks=allowed_tracebacks(case))
    if case.app == "backlog":
        assert account.numbers("item") == [list(range(ITEMS))]
    if case.app == "full_results":
        assert account.sorted_numbers("job", "result") == list(range(JOBS))
