"""What a script does after its server has stopped works as without the library.

Nothing here needs the library: each cell is run without it as well, and compared line by line.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest
from kit import LONG, assert_same, both

from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")


def terminate(server: Server) -> None:
    server.signal(signal.SIGTERM)


def interrupt_alone(server: Server) -> None:
    server.signal(signal.SIGINT)


STOPS: dict[str, Callable[[Server], object] | None] = {
    "CTRL-C": Server.interrupt,
    "SIGINT": interrupt_alone,
    "SIGTERM": terminate,
    "flag": None,
}

# How it is served, how it is stopped, and what is registered; "long" cells with `--long` alone.
SHORT = [
    ("run", "CTRL-C", "unregistered"),
    ("run", "CTRL-C", "registered"),
    ("server", "flag", "unregistered"),
    ("server", "flag", "registered"),
    ("thread", "flag", "unregistered"),
    ("task", "CTRL-C", "registered"),
    ("hypercorn", "SIGTERM", "unregistered"),
    ("granian", "flag", "registered"),
]
ALL = [
    (how, stop, kind)
    for how, stops in {
        "run": ("CTRL-C", "SIGINT"),
        "server": ("CTRL-C", "flag"),
        "thread": ("CTRL-C", "flag"),
        "task": ("CTRL-C", "SIGINT", "flag"),
        "hypercorn": ("CTRL-C", "SIGTERM", "flag"),
        "granian": ("CTRL-C", "flag"),
    }.items()
    for stop in stops
    for kind in ("unregistered", "registered")
]


@pytest.mark.parametrize(("how", "stop", "kind"), ALL if LONG else SHORT)
@pytest.mark.sampled(3)
def test_what_comes_after_the_server(how: str, stop: str, kind: str) -> None:
    without, within = both("ordinary.py", how, stop, kind, stop=STOPS[stop], at=None)
    assert "worker 0" in without.output
    assert_same(without, within)
