"""Ports, and what answers on them."""

from __future__ import annotations

import http.client
import socket


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
