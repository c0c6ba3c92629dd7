"""Programs in a console of their own, in which CTRL-C can be pressed without ending the tests."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

HERE = Path(__file__).parent
NO_WINDOW = 0x08000000  # a console that nobody sees
PATHS = HERE.parents[1], HERE.parent, HERE
SYNCHRONIZE = 0x00100000
IS_RUNNING = 258

# A process gets the events of its own console only, so that it has to be in that of the program.
PRESS = """
import ctypes, sys
kernel32 = ctypes.WinDLL("kernel32")
kernel32.FreeConsole()
attached = kernel32.AttachConsole(int(sys.argv[1]))
kernel32.SetConsoleCtrlHandler(None, True)
sys.exit(0 if attached and kernel32.GenerateConsoleCtrlEvent(0, 0) else 1)
"""


class Program:
    """A Python program in a console of its own, which ends with the `with` block.

    Args:
        words: Its command line, without the interpreter.
        env: Variables that it gets besides.
    """

    def __init__(self, *words: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS)), **env},
            creationflags=NO_WINDOW,
        )
        self.lines: list[str] = []

    @classmethod
    def script(cls, folder: Any, body: str, *words: str, **env: str) -> Program:
        """Start a script that has a file, as workers import it."""
        path = folder / "a script.py"
        path.write_text(textwrap.dedent(body), encoding="utf-8")
        return cls(str(path), *words, **env)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def read_until(self, beginning: str) -> str:
        """Return the rest of the next line that begins so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(beginning):
                return line.removeprefix(beginning).strip()
        raise AssertionError("\n".join(self.lines))

    def press(self, pid: int | None = None) -> None:
        """Press CTRL-C in its console; `pid` is that of another process there, if it has ended."""
        words = [sys.executable, "-S", "-c", PRESS, str(pid or self.process.pid)]
        subprocess.run(words, check=True, timeout=60)

    def end(self, timeout: float = 60) -> list[str]:
        """Wait for its end; returns all lines that it has printed."""
        output, _ = self.process.communicate(timeout=timeout)
        self.lines += output.splitlines()
        return self.lines


def is_wine() -> bool:
    """Tell whether this is Windows by Wine, which has gaps of its own."""
    if sys.platform != "win32":
        return False
    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


def is_running(pid: int) -> bool:
    """Tell whether there is a process with this id."""
    kernel32 = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    kernel32.OpenProcess.restype = ctypes.c_void_p
    handle = kernel32.OpenProcess(SYNCHRONIZE, 0, pid)
    if not handle:
        return False
    state = kernel32.WaitForSingleObject(ctypes.c_void_p(handle), 0)
    kernel32.CloseHandle(ctypes.c_void_p(handle))
    return bool(state == IS_RUNNING)


def ends(pid: int, timeout: float = 30) -> bool:
    """Tell whether a process ends in time."""
    until = time.monotonic() + timeout
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_running(pid)
