"""Threads and tasks of the app that submit jobs or start workers until the end: no exception."""

from __future__ import annotations

import pytest
import until_the_end
from until_the_end import INT, SERVERS, TERM, long

SLACK = 4.0  # On a busy machine the server alone takes two seconds.

TOGETHER = "submit result apply job_in_task"
CELLS = [
    (TOGETHER, False, TERM),
    ("restart", False, TERM),
]
ALONE = [
    (TOGETHER, True, TERM),
    (TOGETHER, False, INT),
    (TOGETHER, True, INT),
    *((case, registered, TERM) for case in TOGETHER.split() for registered in (False, True)),
    ("restart", True, TERM),
    ("job_in_task", False, INT),
    ("job_in_task", True, INT),
    ("restart", False, INT),
    ("restart", True, INT),
]


@pytest.mark.parametrize(
    "server", ["uvicorn", *(pytest.param(s, marks=long) for s in SERVERS if s != "uvicorn")]
)
@pytest.mark.parametrize(
    ("case", "registered", "stop"),
    [*CELLS, *(pytest.param(*cell, marks=long) for cell in ALONE)],
)
def test_no_thread_of_the_app_sees_the_end(
    case: str, registered: bool, server: str, stop: int
) -> None:
    until_the_end.assert_no_thread_sees_the_end(case, registered, server, stop, slack=SLACK)
