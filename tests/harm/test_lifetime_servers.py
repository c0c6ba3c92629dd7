"""Two and three servers in one process do not end each other's things."""

from __future__ import annotations

import itertools
import sys

import pytest
from kit import LONG, assert_same, both, running

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


LIMITED = r"""
    import contextlib
    import multiprocessing
    import sys
    import time

    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from asgi_mpclean import mpclean_lifespan

    ctx = multiprocessing.get_context("spawn")

    def say(report):
        sys.stdout.write(f"{report.trigger}: {len(report.resources)}\n")
        sys.stdout.flush()

    @contextlib.asynccontextmanager
    async def lifespan(app):
        worker = ctx.Process(target=time.sleep, args=(600,), daemon=True)
        worker.start()
        yield

    async def index(request):
        return PlainTextResponse("served")

    app = Starlette(
        routes=[Route("/", index)], lifespan=mpclean_lifespan(lifespan, on_report=say)
    )

    if __name__ == "__main__":
        port = int(sys.argv[1])
        uvicorn.run("program:app", port=port, workers=2, limit_max_requests=LIMIT)
"""


@pytest.mark.skipif(not LONG, reason="--long")
def test_a_worker_of_a_server_goes_away_at_its_limit_of_requests() -> None:
    # Its supervisor may kill it before its exit functions have run.
    with running(LIMITED.replace("LIMIT", "1"), "{port}") as server:
        server.wait_until_ready()  # That is a request.
        server.wait_for_text("lifespan: ")
        server.interrupt()
        outcome = server.finish(10)
    assert "lifespan: 1" in outcome.output
    assert "exit: " not in outcome.output
