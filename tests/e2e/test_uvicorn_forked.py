"""Workers by fork, which inherit the server's signal handlers; fork was the default up to 3.13."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from uvicorn_cases import CTRL_C, SIGTERM, Case, check, hangs_without_library, run

if TYPE_CHECKING:
    from pathlib import Path

TERMINATES = (("MPC_TERMINATE", "1"),)
WAYS = [
    Case("forked", CTRL_C, method="fork", registered=False),
    Case("forked", CTRL_C, method="fork", registered=False, env=TERMINATES),
    Case("forked", SIGTERM, method="fork", registered=False, env=TERMINATES, wrap="lifespan"),
    Case("forked", SIGTERM, "--loop uvloop", method="fork", registered=False, env=TERMINATES),
]


@pytest.mark.parametrize("case", WAYS, ids=str)
def test_a_worker_by_fork_ends_when_it_is_terminated(case: Case, tmp_path: Path) -> None:
    outcome, _account = run(case, tmp_path)
    check(case, outcome)


def test_without_the_library_the_server_hangs() -> None:
    assert hangs_without_library(WAYS[1])
