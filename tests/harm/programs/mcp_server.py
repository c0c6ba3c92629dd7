"""A server of the package mcp, as its documentation runs it; its word is the transport."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

from mcp.server.mcpserver import MCPServer

from asgi_mpclean import mpclean_lifespan, register

LIFESPAN: Any = mpclean_lifespan() if os.environ.get("ATTACH") == "lifespan" else None
server = MCPServer("numbers", lifespan=LIFESPAN)


@server.tool()
def add(left: int, right: int) -> int:
    return left + right


if __name__ == "__main__":
    queue = register(multiprocessing.get_context("spawn").Queue())
    transport: Any = sys.argv[1]
    server.run(transport=transport, port=int(os.environ["PORT"]))
