"""Each message of docs/messages.md, printed by a real program, and gone where the page says so."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pages import FENCE, ROOT
from terminal import same

from asgi_mpclean._check import net
from asgi_mpclean._check.errors import ServerError
from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Act = Callable[[Server], object]

LONG = "MPC_LONG" in os.environ
PAGE = ROOT / "docs" / "messages.md"
PROGRAMS = Path(__file__).parent / "programs"
ANCHOR = re.compile(r"^### .*\{#([a-z-]+)\}$")
QUICK = {"leaked-semaphores", "exit-callback"}
"""Those that run without `--long` as well."""

UVICORN = ("-m", "uvicorn", "--port", "{port}")
GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:{port}")
GRANIAN = ("-m", "granian", "--interface", "asgi", "--port", "{port}")
HYPERCORN = ("-m", "hypercorn", "--bind", "127.0.0.1:{port}")
UVICORN_WORKER = ("-k", "uvicorn_worker.UvicornWorker")


def interrupt(server: Server) -> None:
    """Press CTRL-C."""
    server.interrupt()


def terminate(server: Server) -> None:
    """Send SIGTERM to the server."""
    server.signal(signal.SIGTERM)


def interrupt_twice(server: Server) -> None:
    """Press CTRL-C, and once more."""
    server.interrupt()
    server.wait_for_text("force quit")
    server.interrupt()


def see_it_start_again(server: Server) -> None:
    """Wait until it has, which is the last thing that it says when all is well."""
    server.wait_for_text("Application startup complete", count=2)


def ask(path: str, then: Act | None = None, text: str = "asked") -> Act:
    """Return what asks for a path, which may never answer, and does something after that."""

    def act(server: Server) -> None:
        def send() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                net.ask(server.port, "GET", path, timeout=60)

        threading.Thread(target=send, daemon=True).start()
        server.wait_for_text(text)
        if then is not None:
            then(server)

    return act


@dataclasses.dataclass(frozen=True)
class Message:
    """How a message comes about.

    Attributes:
        command: What is run: by default the program of that name.
        ready: What it prints when it is to be acted upon; "" if it has to answer requests.
        act: What is done to it; by default it ends by itself.
        cured: Whether the library makes it go away.
        since: The first Python that prints it.
        until: The first Python that does not print it any more.
        env: Environment variables.
        endless: Whether it does not end, which is what the message says.
    """

    command: tuple[str, ...] = ()
    ready: str = ""
    act: Act | None = None
    cured: bool = False
    since: tuple[int, int] = (3, 10)
    until: tuple[int, int] = (4, 0)
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    endless: bool = False


MESSAGES = {
    "leaked-semaphores": Message(ready="ready", act=terminate, cured=True),
    "leaked-shared-memory": Message(ready="ready", act=terminate, cured=True),
    "no-such-file": Message(),
    "key-error": Message(),
    "tracker-died": Message(),
    "traceback-of-worker": Message(ready="working", act=interrupt, cured=True),
    "exit-callback": Message(ready="exiting", act=interrupt, cured=True),
    "semlock-of-fork": Message(since=(3, 11)),
    "inheritance": Message(),
    "bootstrapping": Message(),
    "daemonic": Message(),
    "dropped-queue": Message(cured=True),
    "broken-pool": Message(),
    "after-shutdown": Message(),
    "multi-threaded-fork": Message(since=(3, 12), env={"PYTHONWARNINGS": "default"}),
    "unclosed-pool": Message(env={"PYTHONWARNINGS": "default"}),
    "exported-pointers": Message(),
    "closed-queue": Message(),
    "still-running": Message(),
    "broken-pipe": Message(),
    "other-child": Message(),
    "manager-gone": Message(),
    "connections-to-close": Message(
        (*UVICORN, "server_app:app"), act=ask("/slow", interrupt), endless=True
    ),
    "graceful-exceeded": Message(
        (*UVICORN, "--timeout-graceful-shutdown", "1", "server_app:app"),
        act=ask("/slow", interrupt),
    ),
    "lifespan-unsupported": Message((*UVICORN, "server_app:no_lifespan"), act=interrupt),
    "waiting-for-shutdown": Message(
        (*UVICORN, "server_app:app"),
        act=interrupt,
        env={"APP_ENDLESS": "1"},
        endless=True,
    ),
    "child-died": Message(
        (*UVICORN, "--workers", "2", "server_app:app"), act=ask("/die", text="died")
    ),
    "address-in-use": Message(
        ("address_in_use.py",), ready="forked", act=see_it_start_again, cured=True, endless=True
    ),
    "forced-exit": Message((*UVICORN, "server_app:app"), act=ask("/slow", interrupt_twice)),
    "worker-timeout": Message(
        (*GUNICORN, *UVICORN_WORKER, "--timeout", "1", "server_app:app"),
        act=ask("/block", text="WORKER TIMEOUT"),
        endless=True,
    ),
    "worker-killed": Message(
        (*GUNICORN, *UVICORN_WORKER, "server_app:app"),
        act=ask("/die", text="SIGKILL"),
        endless=True,
    ),
    "granian-refused": Message(
        (*GRANIAN, "--workers-kill-timeout", "1", "server_app:app"),
        act=terminate,
        env={"APP_ENDLESS": "1"},
    ),
    "granian-unexpected": Message(
        (*GRANIAN, "server_app:app"), act=ask("/die", text="nexpected"), endless=True
    ),
    "hypercorn-daemonic": Message(
        (*HYPERCORN, "server_app:starting"), ready="daemonic processes", act=interrupt, endless=True
    ),
    "nicegui-middleware": Message(act=ask("/", text="Cannot add middleware"), endless=True),
    "nicegui-guard": Message(ready="You must call", act=interrupt, endless=True),
    "nicegui-interrupt": Message(act=interrupt),
}


def blocks_by_anchor() -> dict[str, list[str]]:
    """Return the text blocks under each message of the page: what it looks like, on each Python."""
    found: dict[str, list[str]] = {}
    lines = iter(PAGE.read_text().splitlines())
    blocks: list[str] = []
    for line in lines:
        if match := ANCHOR.match(line):
            blocks = found[match[1]] = []
        elif (fence := FENCE.match(line)) and fence["language"]:
            inside = []
            for text in lines:
                if text.strip() == "```":
                    break
                inside.append(text)
            if fence["language"] == "text":
                blocks.append("\n".join(inside))
    return found


def as_printed(block: str) -> re.Pattern[str]:
    """Return what finds the lines of a block in an output; `...` stands for any text."""
    lines = []
    for line in same(block).splitlines():
        text = re.sub(r"\d+", "0", line)
        lines.append(re.escape(text).replace(re.escape("..."), ".*"))
    return re.compile("^" + r"\n".join(lines).replace(r".*\n", r"(?:.*\n)*?"), re.MULTILINE)


def prints(output: str, blocks: list[str]) -> bool:
    """Tell whether one of the blocks is in an output, whatever the numbers."""
    text = re.sub(r"\d+", "0", same(output))
    return any(as_printed(block).search(text) for block in blocks)


def run(anchor: str, message: Message, *, library: bool) -> str:
    """Run what prints the message and return what is printed."""
    command = message.command or (str(PROGRAMS / f"{anchor.replace('-', '_')}.py"),)
    words = ("env", "-u", "PYTEST_CURRENT_TEST", sys.executable, "-u", *command)
    with Server(*words, cwd=PROGRAMS, env=message.env, library=library) as server:
        if message.act is not None:
            # With the library, a program that used to hang may have ended by then.
            with contextlib.suppress(*((ServerError,) if library else ())):
                if message.ready:
                    server.wait_for_text(message.ready)
                else:
                    server.wait_until_ready(40)
            message.act(server)
        return server.finish(4 if message.endless or not library else 20).output


def cases() -> Iterator[object]:
    """Yield the messages that this Python prints."""
    for anchor, message in MESSAGES.items():
        marks = []
        if not message.since <= sys.version_info[:2] < message.until:
            marks.append(pytest.mark.skip(reason="other Pythons print it"))
        if not LONG and anchor not in QUICK:
            marks.append(pytest.mark.skip(reason="with --long"))
        yield pytest.param(anchor, message, id=anchor, marks=marks)


@pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("anchor", "message"), list(cases()))
def test_a_message_is_printed_as_the_page_shows_it(anchor: str, message: Message) -> None:
    shown = blocks_by_anchor()[anchor]
    without = run(anchor, message, library=False)
    assert prints(without, shown), without
    if message.cured:
        within = run(anchor, message, library=True)
        assert not prints(within, shown), within


def test_the_page_has_all_messages_and_no_others() -> None:
    found = blocks_by_anchor()
    assert set(found) == set(MESSAGES)
    assert all(found.values())
