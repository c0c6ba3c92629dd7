"""A server with busy pools, managers and shared memory, stopped by real signals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from uvicorn_cases import CTRL_C, SIGTERM, SIGTERM_TO_ALL, Case, cases, check, run

if TYPE_CHECKING:
    from pathlib import Path

SHORT = (("MPC_JOB_SECONDS", "0.5"),)
ENDLESS = (("MPC_JOB_SECONDS", "600"),)


@cases(
    Case("pooled", CTRL_C, env=SHORT, pty=True, method="forkserver"),
    Case("pooled", CTRL_C, "--reload", env=SHORT, registered=False, wrap="lifespan"),
    Case("pooled", CTRL_C, env=ENDLESS, timeout=2, method="fork"),
    Case("pooled", SIGTERM, "--workers 2", env=SHORT, method="fork"),
    Case("pooled", SIGTERM, env=ENDLESS, timeout=2, registered=False, method="forkserver"),
    Case("pooled", SIGTERM_TO_ALL, env=ENDLESS, timeout=2),
    smoke=(Case("pooled", SIGTERM, env=SHORT),),
)
def test_busy_pools_leave_nothing_and_say_what_was_cancelled(case: Case, tmp_path: Path) -> None:
    """No traceback from a worker, nothing in shared memory, no orphan; jobs in hand are done."""
    outcome, _account = run(case, tmp_path)
    check(case, outcome)
    if case.how != SIGTERM_TO_ALL:  # The workers have ended then, and their jobs with them.
        assert len(re.findall(r"\d+ jobs cancelled", outcome.output)) >= case.copies
