"""How `asgi-mpclean run` starts a command: in its own place, by an exec."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asgi_mpclean._inject.environment import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

HOOK = Path(__file__).parents[1] / "_run" / "clean_end.py"

# What a shell says of a command that it cannot start, and of one that there is not.
CANNOT_START, NOT_FOUND = 126, 127

PYTHON = re.compile(r"python(\d+(\.\d+)?)?t?(\.exe)?")
# Options of Python that keep PYTHONPATH or `sitecustomize` out, and those that take a value.
SHUT_OUT, WITH_VALUE, LAST = "IES", "WX", "cm"


def start(command: Sequence[str]) -> int:
    """Be the command, whose processes clean up.

    Its pid, its terminal and its exit status are its own: on POSIX this process becomes it.

    Args:
        command: The program and its arguments.

    Returns:
        The exit status, where this process is still there: that of a shell if the command cannot
        be started, or the command's own on Windows.
    """
    if not command[0]:
        _say("'': command not found")
        return NOT_FOUND
    if flag := shut_out_by(command):
        _say(f"{flag} keeps asgi-mpclean out of this Python, so that all is as without")
    env = environment(os.environ, [str(HOOK)])
    try:
        if sys.platform == "win32":
            return subprocess.run(command, env=env, check=False).returncode
        # Python ignores these, which another program does not expect.
        for name in ("SIGPIPE", "SIGXFSZ"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvpe(command[0], list(command), env)  # noqa: S606 - it is the user's own command
    except (FileNotFoundError, NotADirectoryError):
        _say(f"{command[0]}: command not found")
        return NOT_FOUND
    except (OSError, ValueError) as error:
        _say(f"{command[0]}: {getattr(error, 'strerror', None) or error}")
        return CANNOT_START


def shut_out_by(command: Sequence[str]) -> str | None:
    """Return the option by which a Python has nothing loaded into it, if it is known to have one.

    Args:
        command: A command, which may be the interpreter, or a script that names it in its first
            line.
    """
    program = Path(command[0]).name
    if PYTHON.fullmatch(program):
        return _option(command[1:])
    words = _first_line(command[0])
    names = [place for place, word in enumerate(words) if PYTHON.fullmatch(Path(word).name)]
    return _option(words[names[0] + 1 :]) if names else None


def _first_line(program: str) -> list[str]:
    path = shutil.which(program)
    if path is None:
        return []
    try:
        with open(path, "rb") as file:
            line = file.readline(256)
    except OSError:
        return []
    return line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []


def _option(words: Sequence[str]) -> str | None:
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word.startswith("--") or word == "-":
            return None
        for letter in word[1:]:
            if letter in SHUT_OUT:
                return f"-{letter}"
            if letter in LAST:
                return None
            if letter in WITH_VALUE:
                if word.endswith(letter):
                    next(rest, None)
                break
    return None


def _say(text: str) -> None:
    sys.stderr.write(f"asgi-mpclean: {text}\n")
