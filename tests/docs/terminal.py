"""Terminals with a shell in them, in which the tests type what a page says."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import time
from typing import TYPE_CHECKING

from kit import CHANGING

from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pages import Step

PROMPT = "<prompt>"
# By the variable NiceGUI takes a server for one of its own tests, and does not serve.
SHELL = ("env", "-u", "PYTEST_CURRENT_TEST", "bash", "--noprofile", "--norc", "--noediting", "-i")
SECONDS = 90.0
QUIET = 5.0
"""Seconds without a word after which what has been left running prints nothing more."""

COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SOME_PID = re.compile(r"\b4242\b")
PID = re.compile(r"process \[?(?:\x1b\[\d+m)?(\d+)")
JOB = re.compile(r"^(\[\d+\]) \d+$", re.MULTILINE)


class PageError(AssertionError):
    """The page says something else than what happens."""


def same(text: str) -> str:
    """Return the text without what differs from run to run, and without empty lines."""
    text = JOB.sub(r"\1 PID", COLOUR.sub("", text.replace("\r", "")))
    for pattern, instead in CHANGING:
        text = pattern.sub(instead, text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())


def as_pattern(expected: Sequence[str]) -> re.Pattern[str]:
    """Return what matches the lines; `...` stands for any lines, or any text within a line."""
    parts = []
    for line in same("\n".join(expected)).splitlines():
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*")
        else:
            parts.append(re.escape(line).replace(re.escape("..."), ".*") + r"\n")
    return re.compile("".join(parts))


class Terminal:
    """A terminal with a shell in it.

    Args:
        server: The shell.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._read = 0
        self.busy = False
        server.wait_for_text(PROMPT)
        self._type("stty -echo rows 50 cols 120")

    def _type(self, text: str) -> None:
        self._server.wait_for_text(PROMPT)
        self._read = len(self._server.output)
        os.write(self._server._session._keyboard, f"{text}\n".encode())
        while PROMPT not in self._new():
            time.sleep(0.01)

    def number_printed(self) -> str:
        """Return the number of a process that was printed last."""
        return str(PID.findall(self._server.output)[-1])

    def look(self) -> None:
        """See whether what was left running has ended by now."""
        self.busy = self.busy and PROMPT not in self._new()

    def _new(self) -> str:
        return self._server.output[self._read :]

    def do(self, step: Step) -> None:
        """Do what a step says, and check what is printed.

        Raises:
            PageError: Something else is printed, or the command does not end.
        """
        if step.typed is None:
            self._server.interrupt()
        elif step.typed:
            self._read = len(self._server.output)
            os.write(self._server._session._keyboard, f"{step.typed}\n".encode())
        self.busy = True
        pattern = as_pattern(step.expected)
        until = time.monotonic() + SECONDS
        while True:
            text = self._new()
            ended = PROMPT in text
            shown = same(text.replace(PROMPT, "\n"))
            if (ended or step.goes_on) and pattern.fullmatch(shown):
                break
            if time.monotonic() > until or (ended and self._is_over(text)):
                raise PageError(self._tell(step, shown, ended=ended))
            time.sleep(0.02)
        self.busy = not ended
        # The tracker writes after the prompt has come: that is for the next step to see.
        self._read += len(text)

    def _is_over(self, text: str) -> bool:
        """Tell whether no more comes; what a command has left may still print something."""
        until = time.monotonic() + QUIET
        while time.monotonic() < until:
            if self._new() != text:
                return False
            time.sleep(0.05)
        return True

    @staticmethod
    def _tell(step: Step, shown: str, *, ended: bool) -> str:
        typed = "^C" if step.typed is None else step.typed
        return (
            f"{typed}\n--- expected\n{same(chr(10).join(step.expected))}--- printed\n{shown}"
            f"--- {'ended' if ended else 'still running'}"
        )


class Desk:
    """The terminals that a reader of a page has open.

    Args:
        folder: Where they work.
        env: Environment variables on top of the present ones.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = {"PS1": PROMPT, "TERM": "dumb", "BASH_SILENCE_DEPRECATION_WARNING": "1", **env}
        self._terminals: list[Terminal] = []
        self._stack = contextlib.ExitStack()

    def do(self, step: Step) -> None:
        """Do a step: in the busy terminal if it is a key, else in one that is free."""
        for terminal in self._terminals:
            terminal.look()
        wanted = not step.typed
        busy = [terminal for terminal in self._terminals if terminal.busy]
        found = busy if wanted else [one for one in self._terminals if not one.busy]
        if not found and wanted:
            message = "nothing runs that could print this or be stopped"
            raise PageError(message)
        if step.typed and SOME_PID.search(step.typed) and busy:
            typed = SOME_PID.sub(busy[0].number_printed(), step.typed)
            step = dataclasses.replace(step, typed=typed)
        (found[0] if found else self._open()).do(step)

    def _open(self) -> Terminal:
        server = Server(*SHELL, cwd=self._folder, env=self._env, pty=True, private_shm=False)
        terminal = Terminal(self._stack.enter_context(server))
        self._terminals.append(terminal)
        return terminal

    @contextlib.contextmanager
    def opened(self) -> Iterator[Desk]:
        """Close all terminals at the end, with all that still runs in them."""
        with self._stack:
            yield self
