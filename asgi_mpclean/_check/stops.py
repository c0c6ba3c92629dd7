"""The ways to stop a server."""

from __future__ import annotations

import dataclasses
import signal
import time
from typing import TYPE_CHECKING

from . import system
from .server import Server

if TYPE_CHECKING:
    from collections.abc import Callable


def terminate(server: Server) -> None:
    """Send SIGTERM to the server alone, as supervisors do."""
    server.signal(signal.SIGTERM)


@dataclasses.dataclass(frozen=True)
class Stop:
    """A way to stop a server.

    Attributes:
        title: What a person calls it.
        steps: What is sent, and how many seconds after what was sent before.
        forced: Whether it may reach the server while that is already shutting down. It then ends
            at once, and most servers print a traceback.
        after_change: Whether a file is changed first, for the server's reloader.
    """

    title: str
    steps: tuple[tuple[float, Callable[[Server], None]], ...]
    forced: bool = False
    after_change: bool = False

    def send(self, server: Server) -> None:
        """Stop the server in this way; the intervals are part of it."""
        for seconds, step in self.steps:
            time.sleep(seconds)
            step(server)


CTRL_C = (0, Server.interrupt)
SIGTERM = (0, terminate)

_ALL = {
    "int": Stop("CTRL-C", (CTRL_C,)),
    "term": Stop("SIGTERM", (SIGTERM,)),
    "int-twice": Stop("CTRL-C twice", (CTRL_C, (0.3, Server.interrupt)), forced=True),
    "reload": Stop("change, CTRL-C", (CTRL_C,), after_change=True),
    "reload-term": Stop("change, SIGTERM", (SIGTERM,), after_change=True),
    "term-group": Stop(
        "SIGTERM to the group", ((0, lambda server: server.signal_group(signal.SIGTERM)),)
    ),
    "int-twice-fast": Stop(
        "CTRL-C twice in 0.05 s", (CTRL_C, (0.05, Server.interrupt)), forced=True
    ),
    "int-term": Stop("CTRL-C, then SIGTERM", (CTRL_C, (0.05, terminate)), forced=True),
    "term-twice": Stop("SIGTERM twice", (SIGTERM, (0.3, terminate)), forced=True),
    # By their names, as Windows does not have them.
    "hup": Stop("SIGHUP", ((0, lambda server: server.signal(signal.Signals["SIGHUP"])),)),
    "quit": Stop("SIGQUIT", ((0, lambda server: server.signal(signal.Signals["SIGQUIT"])),)),
    "break": Stop("CTRL-BREAK", ((0, Server.press_break),)),
}

STOPS = {name: _ALL[name] for name in system.STOPS}
"""Those of this system, by the name that the command line has for them."""


def refusal(name: str) -> str:
    """Return why there is no such way to stop a server, and what there is."""
    why = f": {system.WHY_NOT}" if name in _ALL and system.WHY_NOT else ""
    return f"{name!r} is none of {', '.join(STOPS)}{why}"
