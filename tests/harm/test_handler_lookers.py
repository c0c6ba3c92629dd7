"""Packages that look at signal handlers go on working: event streams end, statuses stay.

Who looks, of what the tests install: sse-starlette (and so mcp) at SIGTERM's `__self__`; the
runners of asyncio and anyio, trio, twisted (and so daphne) and unittest at SIGINT's, by identity.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from kit import LONG, assert_same, both, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgi_mpclean._check.outcome import Outcome
    from asgi_mpclean._check.server import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

STREAMS = 3
LATER = 1.0
"""Seconds that a server may take longer with the library; sse-starlette looks twice a second."""


def stop(server: Server, signum: int) -> None:
    """Stop it as from a terminal, or as a supervisor does."""
    if signum == signal.SIGINT:
        server.interrupt()
    else:
        server.signal(signum)


@contextlib.contextmanager
def streams(server: Server) -> Iterator[None]:
    """Hold streams open, each of which has sent something."""
    connections = []
    try:
        for _ in range(STREAMS):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connections.append(connection)
            connection.request("GET", "/stream")
            assert connection.getresponse().read(4) == b"data"
        yield
    finally:
        for connection in connections:
            connection.close()


def serve_streams(flags: str, attach: str, signum: int, *, library: bool) -> Outcome:
    words = ["streams:app", "--port", "{port}", "--log-level", "warning", *flags.split()]
    env = {"ATTACH": attach}
    with running("uvicorn", *words, library=library, env=env) as server:
        server.wait_until_ready()
        with streams(server):
            stop(server, signum)
            return server.finish(8)


SHORT = [("--workers 2", "wrapper", signal.SIGTERM), ("--reload", "lifespan", signal.SIGINT)]
ALL = [
    (flags, attach, signum)
    for flags in ("", "--workers 2", "--reload")
    for attach in ("wrapper", "lifespan", "registered")
    for signum in (signal.SIGTERM, signal.SIGINT)
]


@pytest.mark.parametrize(("flags", "attach", "signum"), ALL if LONG else SHORT)
def test_open_event_streams_end_with_the_server(
    flags: str, attach: str, signum: signal.Signals
) -> None:
    pytest.importorskip("sse_starlette")
    without = serve_streams(flags, attach, signum, library=False)
    within = serve_streams(flags, attach, signum, library=True)
    assert not without.hung
    assert_same(without, within, ordered=False)
    assert within.seconds < without.seconds + LATER


MCP_SHORT = [("sse", "registered", signal.SIGINT), ("sse", "lifespan", signal.SIGTERM)]
MCP_ALL = [
    (transport, attach, signum)
    for transport in ("sse", "streamable-http")
    for attach in ("registered", "lifespan")
    for signum in (signal.SIGTERM, signal.SIGINT)
]


@pytest.mark.parametrize(("transport", "attach", "signum"), MCP_ALL if LONG else MCP_SHORT)
def test_the_status_of_an_mcp_server_stays(
    transport: str, attach: str, signum: signal.Signals
) -> None:
    pytest.importorskip("mcp.server.mcpserver")
    without, within = both(
        *("mcp_server.py", transport),
        stop=lambda server: stop(server, signum),
        at=None,
        env={"ATTACH": attach},
    )
    if sys.version_info >= (3, 11):  # anyio's own runner, on 3.10, ends CTRL-C with 1.
        assert without.status == -signum
    assert within.status == without.status
    assert within.tracebacks == without.tracebacks
    assert not within.orphans
    assert not within.leaked
