"""What differs per system: how a server is started and stopped, and what its exit status says.

On POSIX a server gets a session of its own, and signals stop it. Windows has no signals between
processes: there it gets a console of its own, in which CTRL-C and CTRL-BREAK are pressed. Both
sides have the same names.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from .errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CTRL_C, CTRL_BREAK = "CTRL-C", "CTRL-BREAK"

if sys.platform == "win32":
    import ctypes

    STOPS = ("int", "break", "int-twice", "int-twice-fast", "reload")
    """What stops a server here, of the names that `stops` knows."""

    STOPS_BY_DEFAULT = ("int",)
    WHY_NOT = "Windows has no signals between processes, only keys in a console"
    NOT_SERVING: tuple[str, ...] = ("gunicorn",)
    """Servers that cannot run here."""

    COUNTED_BY = None
    """By what leaks are counted where there is no ``/dev/shm``, None if there can be none."""

    REMARK = "leaked: Windows frees semaphores and shared memory with their last process"

    # What GetExitCodeProcess tells of a process that ended by no exit of its own.
    _FIRST_ERROR, _CONTROL_C_EXIT = 0xC0000000, 0xC000013A
    _NO_WINDOW = 0x08000000  # a console that nobody sees

    # A process gets the events of its own console only. So another one, which is there from the
    # beginning, enters that of the server for each key; it must not end by the key itself.
    _KEYBOARD = """
import ctypes, signal, sys
kernel32 = ctypes.WinDLL("kernel32")
signal.signal(signal.SIGBREAK, signal.SIG_IGN)
for line in iter(sys.stdin.readline, ""):
    pid, event = map(int, line.split())
    kernel32.FreeConsole()
    pressed = kernel32.AttachConsole(pid)
    kernel32.SetConsoleCtrlHandler(None, True)
    pressed = pressed and kernel32.GenerateConsoleCtrlEvent(event, 0)
    kernel32.FreeConsole()
    print("pressed" if pressed else "not pressed", flush=True)
"""

    class Session:
        """A console of its own, which the server and all that it starts share."""

        def __init__(self, *, pty: bool = False) -> None:
            """Prepare it.

            Args:
                pty: A terminal, which cannot be had.

            Raises:
                CheckError: It was asked for.
            """
            if pty:
                message = "a server cannot be given a terminal on Windows"
                raise CheckError(message)
            self._output = -1

        def open(self, undo: contextlib.ExitStack) -> int:
            """Make the keyboard, and the pipe for the output; return its reading end.

            Args:
                undo: Closes the keyboard.
            """
            self._keyboard = subprocess.Popen(
                [sys.executable, "-S", "-c", _KEYBOARD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                creationflags=_NO_WINDOW,
            )
            undo.callback(self._keyboard.communicate)
            undo.callback(self._keyboard.kill)
            readable, self._output = os.pipe()
            return readable

        def start(
            self,
            command: Sequence[str],
            cwd: str | os.PathLike[str] | None,
            env: Mapping[str, str],
        ) -> subprocess.Popen[bytes]:
            """Start the server.

            Args:
                command: The program and its arguments.
                cwd: The folder to run it in.
                env: All of its environment.
            """
            # That CTRL-C is ignored is inherited, as from whoever runs us in the background.
            ctypes.WinDLL("kernel32").SetConsoleCtrlHandler(None, 0)
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=self._output,
                    creationflags=_NO_WINDOW,
                )
            finally:
                os.close(self._output)
            return self._process

        def press(self, key: str) -> None:
            """Press a key.

            Args:
                key: CTRL_C or CTRL_BREAK.

            Raises:
                CheckError: It could not be pressed.
                ProcessLookupError: The server has ended.
            """
            keys, answers = self._keyboard.stdin, self._keyboard.stdout
            event = signal.CTRL_C_EVENT if key == CTRL_C else signal.CTRL_BREAK_EVENT
            answer = ""
            if keys is not None and answers is not None:
                with contextlib.suppress(OSError):
                    keys.write(f"{self._process.pid} {int(event)}\n")
                    keys.flush()
                    answer = answers.readline()
            if answer.strip() == "pressed":
                return
            if self._process.poll() is not None:
                raise ProcessLookupError
            message = f"{key} could not be pressed in the console of the server"
            raise CheckError(message)

        def signal(self, signum: int, *, group: bool = False) -> None:
            """Send a signal, which is not possible.

            Raises:
                CheckError: Always.
            """
            message = f"signal {signum} {'to a group ' * group}cannot be sent: {WHY_NOT}"
            raise CheckError(message)

    def reap(_pid: int) -> None:
        """Take note of a child's end, which nothing waits for here."""

    def status_name(code: int) -> str:
        """Return an exit status in words, one that Windows has set as it is documented."""
        if code == _CONTROL_C_EXIT:
            return CTRL_C
        return f"0x{code:X}" if code >= _FIRST_ERROR else str(code)

    def prepare_probe(probe: socket.socket) -> None:
        """Have a socket bound only where nobody listens."""
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)

else:
    STOPS = (
        *("int", "term", "int-twice", "reload", "reload-term", "term-group"),
        *("int-twice-fast", "int-term", "term-twice", "hup", "quit"),
    )
    """What stops a server here, of the names that `stops` knows."""

    STOPS_BY_DEFAULT = ("int", "term")
    WHY_NOT = ""
    NOT_SERVING: tuple[str, ...] = ()
    """Servers that cannot run here."""

    COUNTED_BY = "trace"
    """By what leaks are counted where there is no ``/dev/shm``."""

    REMARK = "leaked: what the trace has seen"

    def _as_from_a_terminal() -> None:  # pragma: no cover - in a child, before its exec
        """Ignore no signal because we do, as a background job of a script ignores SIGINT."""
        for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)

    class Session:
        """A session of its own, with or without a terminal."""

        def __init__(self, *, pty: bool = False) -> None:
            """Prepare it.

            Args:
                pty: Whether it has a terminal, and CTRL-C as a key instead of a signal.
            """
            self._pty = pty
            self._keyboard = self._output = self._pid = -1

        def open(self, undo: contextlib.ExitStack) -> int:
            """Make the terminal, or the pipe for the output; return the end to read from.

            Args:
                undo: Closes the keyboard.
            """
            if not self._pty:
                readable, self._output = os.pipe()
                return readable
            self._keyboard, self._output = os.openpty()
            undo.callback(os.close, self._keyboard)
            return os.dup(self._keyboard)

        def start(
            self,
            command: Sequence[str],
            cwd: str | os.PathLike[str] | None,
            env: Mapping[str, str],
        ) -> subprocess.Popen[bytes]:
            """Start the server.

            Args:
                command: The program and its arguments.
                cwd: The folder to run it in.
                env: All of its environment.
            """
            try:
                process = subprocess.Popen(
                    ["setsid", "--ctty", *command] if self._pty else command,
                    cwd=cwd,
                    env=env,
                    stdin=self._output if self._pty else subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=self._output,
                    start_new_session=not self._pty,
                    preexec_fn=_as_from_a_terminal,  # noqa: PLW1509 - takes no lock
                )
            finally:
                os.close(self._output)
            self._pid = process.pid
            return process

        def press(self, key: str) -> None:
            """Press CTRL-C: on the terminal if it has one, else by SIGINT to its group.

            Raises:
                CheckError: It is another key.
                ProcessLookupError: There is nobody in the group.
            """
            if key != CTRL_C:
                message = f"{key} is a key of Windows"
                raise CheckError(message)
            if not self._pty:
                self.signal(signal.SIGINT, group=True)
                return
            with contextlib.suppress(OSError):
                os.write(self._keyboard, b"\x03")

        def signal(self, signum: int, *, group: bool = False) -> None:
            """Send a signal to the server's process alone, or to its group.

            Raises:
                ProcessLookupError: It is gone.
            """
            if group:
                os.killpg(self._pid, signum)
            else:
                os.kill(self._pid, signum)

    def reap(pid: int) -> None:
        """Take note of the end of a child that has come to us."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    def status_name(code: int) -> str:
        """Return an exit status in words, a signal by its name."""
        return signal.Signals(-code).name if code < 0 else str(code)

    def prepare_probe(probe: socket.socket) -> None:
        """Have a socket bound where connections of the past are still being closed."""
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
