"""Two and three servers in one process do not end each other's things."""

from __future__ import annotations

import itertools
import sys

import pytest
from kit import LONG, assert_same, both

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

SHORT = [
    ("loop", "2", "global", "wrapper", "flag"),
    ("loop", "2", "own", "lifespan", "signal"),
    ("threads", "2", "global", "lifespan", "flag"),
    ("threads", "3", "nowhere", "wrapper", "flag"),
]
ALL = [
    *itertools.product(
        ("loop", "threads"),
        ("2", "3"),
        ("global", "own", "nowhere"),
        ("wrapper", "lifespan"),
        ("flag",),
    ),
    *itertools.product(
        ("loop",), ("2",), ("global", "own", "nowhere"), ("wrapper", "lifespan"), ("signal",)
    ),
]


@pytest.mark.parametrize(("run", "count", "where", "attach", "last"), ALL if LONG else SHORT)
def test_servers_that_end_one_after_the_other(
    run: str, count: str, where: str, attach: str, last: str
) -> None:
    without, within = both("two_servers.py", run, count, where, attach, last)
    assert without.status == 0, without.output
    assert "over at last" in without.output
    assert_same(without, within)
