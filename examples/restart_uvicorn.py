"""A uvicorn that restarts itself and refuses no connection meanwhile.

Start it, keep asking it, and restart it:

    python examples/restart_uvicorn.py
    curl localhost:8000
    curl -X POST localhost:8000/restart

The listening socket is handed on from program to program. Between two of them the system takes the
connections, and the next program serves them.
"""

from __future__ import annotations

import os
import socket

import uvicorn
from fastapi import FastAPI

from asgi_mpclean import mpclean_lifespan, restart

app = FastAPI(lifespan=mpclean_lifespan())


@app.get("/")
def show_start() -> str:
    """Say how often the program has been started."""
    return os.environ["STARTS"]


@app.post("/restart", status_code=202)
def restart_now() -> str:
    """Begin anew, once this has been answered and all that is under way as well."""
    restart()
    return "restarting"


def listening_socket() -> int:
    """Return the descriptor that the program before has left, or that of a new socket."""
    if "LISTENING" not in os.environ:
        listening = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "8000"))))
        listening.set_inheritable(True)
        os.environ["LISTENING"] = str(listening.detach())
    return int(os.environ["LISTENING"])


if __name__ == "__main__":
    os.environ["STARTS"] = str(int(os.environ.get("STARTS", "0")) + 1)
    uvicorn.run(app, fd=listening_socket())
