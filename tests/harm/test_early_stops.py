"""A stop that comes before the server can hear it is not forgotten.

Each server is stopped once, at each moment of its start; where it hangs without the library, as
granian does, it must not with it. A storm of stops at all moments between runs with `--long`.
"""

from __future__ import annotations

import itertools
import random
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from kit import LONG, PROGRAMS, running

if TYPE_CHECKING:
    from asgi_mpclean._check.outcome import Outcome
    from asgi_mpclean._check.server import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

SERVERS = {
    "uvicorn": "uvicorn early:app --port {port} --log-level warning",
    "uvicorn --workers": "uvicorn early:app --port {port} --log-level warning --workers 2",
    "hypercorn": "hypercorn early:app --bind 127.0.0.1:{port}",
    "hypercorn in its main process": "hypercorn early:app --bind 127.0.0.1:{port} --workers 0",
    "granian": "granian early:app --interface asgi --port {port}",
    "granian on asyncio": "granian early:app --interface asgi --port {port} --loop asyncio",
    "gunicorn": "gunicorn early:app --worker-class asgi --bind 127.0.0.1:{port}",
    "gunicorn with uvicorn": "gunicorn early:app -k uvicorn_worker.UvicornWorker -b :{port}",
}
MOMENTS = ("importing", "imported", "starting", "started")
SIGNALS = {"CTRL-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}
LIMIT = 8
"""Seconds for the end; the start itself takes less than two."""


def send(server: Server, how: str) -> None:
    if how == "CTRL-C":
        server.interrupt()
    else:
        server.signal(SIGNALS[how])


def stopped(name: str, moment: str, how: str, *, later: float = 0.0, **env: str) -> Outcome:
    """Stop the server at a moment, or so many seconds later, once."""
    program, *words = SERVERS[name].split()
    path = {"PYTHONPATH": str(PROGRAMS)}
    with running(program, *words, env={**path, **env}) as server:
        server.wait_for_text(moment)
        time.sleep(later)
        send(server, how)
        return server.finish(LIMIT)


SHORT = [
    ("wrapper", "granian", "importing", "SIGTERM"),
    ("wrapper", "granian on asyncio", "importing", "SIGTERM"),
    ("wrapper", "granian", "imported", "CTRL-C"),
    ("wrapper", "granian on asyncio", "imported", "CTRL-C"),
    ("wrapper", "granian", "starting", "CTRL-C"),
    ("wrapper", "granian on asyncio", "started", "CTRL-C"),
    ("lifespan", "granian", "starting", "SIGTERM"),
    ("lifespan", "granian on asyncio", "starting", "CTRL-C"),
    ("wrapper", "uvicorn", "starting", "SIGTERM"),
    ("wrapper", "hypercorn", "importing", "CTRL-C"),
    ("wrapper", "gunicorn", "importing", "SIGTERM"),
]
ALL = list(itertools.product(("wrapper", "lifespan"), SERVERS, MOMENTS, SIGNALS))


@pytest.mark.parametrize(("attach", "name", "moment", "how"), ALL if LONG else SHORT)
def test_a_stop_is_heard_at_each_moment(attach: str, name: str, moment: str, how: str) -> None:
    outcome = stopped(name, moment, how, ATTACH=attach)
    assert not outcome.hung, outcome.output
    assert not outcome.orphans
    assert not outcome.leaked


STORM = 300


@pytest.mark.skipif(not LONG, reason="a storm takes its time: --long")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SERVERS)
def test_a_storm_of_stops(name: str) -> None:
    moments = random.Random(1)  # noqa: S311 - the same each time
    hung = []
    for number in range(STORM):
        moment, how = moments.choice(MOMENTS), moments.choice(list(SIGNALS))
        later, slow = moments.uniform(0, 0.1), moments.choice(["0", "0.1"])
        blocks, attach = moments.choice(["", "1"]), moments.choice(["wrapper", "lifespan"])
        outcome = stopped(name, moment, how, later=later, SLOW=slow, BLOCKS=blocks, ATTACH=attach)
        if outcome.hung or outcome.orphans:
            hung.append((number, moment, how, later, slow, blocks, attach))
    assert not hung
