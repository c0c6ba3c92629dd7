"""Ports, and what answers on them."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import socket

FIRST_PORT = 10000
PORTS = 20000
"""How many ports are tried: those below the ones that systems give to clients."""

STRIDE = 617
"""How far apart processes with neighbouring pids begin to look."""

_tried = itertools.count()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nobody listens.

    The system's own choice (port 0) may be given to somebody else before the server takes it, as
    when several checks or tests run at once. Here each process goes through the ports in order,
    from a place of its own, so that no two try the same one at the same time.

    Raises:
        OSError: All are taken.
    """
    for _ in range(PORTS):
        port = FIRST_PORT + (os.getpid() * STRIDE + next(_tried)) % PORTS
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    message = f"no port between {FIRST_PORT} and {FIRST_PORT + PORTS} is free"
    raise OSError(message)


def ask(port: int, method: str, path: str, timeout: float) -> tuple[int, str]:
    """Make an HTTP request to 127.0.0.1.

    Args:
        port: Where to.
        method: Such as ``GET``.
        path: The path, beginning with a slash.
        timeout: Seconds for each step of the connection.

    Returns:
        The status and the body.

    Raises:
        OSError: There is no connection or no answer in time.
        http.client.HTTPException: What answers does not speak HTTP.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()
