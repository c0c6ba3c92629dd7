"""Ports, and what answers on them."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from typing import TYPE_CHECKING

from .processes import PROC, read_proc

if TYPE_CHECKING:
    from collections.abc import Iterable


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


def listening_ports(pids: Iterable[int]) -> list[int]:
    """Return the TCP ports on which the processes listen."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in (PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(str(entry.readlink()))
    listening = b"0A"
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in read_proc(os.getpid(), f"net/{table}").splitlines()[1:]:
            fields = line.split()
            if fields[3] == listening and f"socket:[{int(fields[9])}]" in sockets:
                ports.add(int(fields[1].rpartition(b":")[2], 16))
    return sorted(ports)
