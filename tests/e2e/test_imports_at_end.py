"""A clean-up imports nothing: the interpreter may be ending, or no descriptor be left to open one.

What Python and the server import in their own end, without the library, does not count.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

LONG = "MPC_LONG" in os.environ
PROGRAM = str(Path(__file__).parent / "apps" / "imports_noted.py")


def sigterm(server: Server) -> None:
    server.signal(signal.SIGTERM)


def nothing(_server: Server) -> None:
    """Let it end by itself."""


ENDS: dict[str, tuple[str, Callable[[Server], None]]] = {
    "a server, SIGTERM": ("serve", sigterm),
    "a server, CTRL-C": ("serve", Server.interrupt),
    "a script, SIGTERM": ("script stopped", sigterm),
    "a script, its end": ("script", nothing),
}
REGISTERED = ["registered", "unregistered"]
ALWAYS = {(end, "spawn", REGISTERED[number % 2]) for number, end in enumerate(ENDS)}
CELLS = [
    (end, method, registered)
    for end in ENDS
    for method in ("spawn", "forkserver", "fork")
    for registered in REGISTERED
]


def imported_at_end(end: str, method: str, registered: str, *, library: bool) -> dict[str, str]:
    """Return what is imported from the stop on, with the line of the library that does it."""
    role, stop = ENDS[end]
    words = [role.split()[0], method, registered, *role.split()[1:]]
    with Server(sys.executable, "-W", "ignore", PROGRAM, *words, library=library) as server:
        server.wait_until_ready() if role == "serve" else server.wait_for_text("ready\n")
        stop(server)
        outcome = server.finish(10 if library else 1)  # Without it, it may hang, and is killed.
    if library:
        assert not outcome.hung, outcome.output
        assert not outcome.left, outcome.output
    lines = [line.split(" ", 3) for line in outcome.output.splitlines()]
    noted = [line for line in lines if line[0] == "import"]
    assert noted[0][2] == "proof_that_this_is_noted"
    ended = [float(line[1]) for line in lines if line[0] == "ends"]
    began = ended[0] if ended else outcome.signalled_at
    return {name: by for _, at, name, by in noted if float(at) >= began}


@pytest.mark.parametrize(
    ("end", "method", "registered"), [cell for cell in CELLS if LONG or cell in ALWAYS]
)
@pytest.mark.sampled(3)
def test_a_clean_up_imports_nothing(end: str, method: str, registered: str) -> None:
    imported = imported_at_end(end, method, registered, library=True)
    if imported:  # Without the library, most of these programs hang or are killed.
        without = imported_at_end(end, method, registered, library=False)
        imported = {name: by for name, by in imported.items() if by or name not in without}
    assert not imported
