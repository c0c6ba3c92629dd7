"""Start a real server, stop it by real signals, and count exactly what it leaves behind.

A server that exits badly is easily taken for one that exits well: the worst leaks print nothing
(a living orphan keeps the resource tracker quiet), and a busy machine has processes and semaphores
of others. So every run here gets a session, a mark in its environment and, where the rights allow,
a ``/dev/shm`` of its own; what is found there afterwards is the server's and nobody else's.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
import time
import uuid
from typing import TYPE_CHECKING

from .errors import ServerError
from .eventually import eventually
from .net import ask, free_port
from .outcome import TRACEBACK, WARNING, Outcome
from .output import Output
from .processes import (
    Descendant,
    Family,
    adopt_orphans,
    kill,
    listening_ports,
    watched_inodes,
)
from .shm import SharedMemory, can_unshare, is_shown
from .system import CTRL_BREAK, CTRL_C, Session, reap

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from typing_extensions import Self


MARK = "ASGI_MPCLEAN_RUN"
"""The environment variable by which the processes of a run are known."""

ORPHAN_GRACE = 1.0
"""Seconds that a child may outlive the server before it counts as an orphan."""

TRACKER_GRACE = 2.0
"""Seconds for the resource tracker, which prints last, to end after the server."""


class Server:
    """A server process, from its start to the last trace of it; use it in a ``with`` block.

    Args:
        command: The program and its arguments; ``{port}`` stands for the port. Without it the
            server is found by the port that its processes listen on.
        cwd: The folder to run it in.
        env: Environment variables on top of the present ones.
        pty: Whether to give it a terminal, and CTRL-C as a key instead of a signal.
        library: Whether asgi_mpclean shall work; if not, the same app shows what happens without.
        private_shm: Whether to give it its own ``/dev/shm``; by default if that is possible.
        port: The port; by default a free one.
    """

    def __init__(
        self,
        *command: str,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        pty: bool = False,
        library: bool = True,
        private_shm: bool | None = None,
        port: int | None = None,
    ) -> None:
        """Prepare everything; the process starts with the ``with`` block."""
        self.port = free_port() if port is None else port
        self._is_told_its_port = any("{port}" in word for word in command)
        # The servers that a check starts belong to the check's run, should it be run itself.
        run = f"{os.environ.get(MARK, '')}{uuid.uuid4().hex}."
        self._command = [word.replace("{port}", str(self.port)) for word in command]
        self._cwd = cwd
        self._env = {
            **os.environ,
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            "PYTHON_COLORS": "0",
            "NO_COLOR": "1",
            **(env or {}),
            MARK: run,
        }
        if library:
            self._env.pop("ASGI_MPCLEAN_DISABLE", None)
        else:
            self._env["ASGI_MPCLEAN_DISABLE"] = "1"
        self._pty = pty
        self._session = Session(pty=pty)
        self._family = Family((MARK, run))
        self._private_shm = can_unshare() if private_shm is None else private_shm
        self._ended = threading.Event()
        self.pid = -1

    def __enter__(self) -> Self:
        """Start the process."""
        adopt_orphans()
        # An exception may come in the middle of it: CTRL-C.
        with contextlib.ExitStack() as undo:
            self._start(undo)
            self._undo = undo.pop_all()
        return self

    def _start(self, undo: contextlib.ExitStack) -> None:
        self._shm = SharedMemory(private=self._private_shm)
        undo.callback(self._shm.remove)
        readable = self._session.open(undo)
        when_killed = undo.enter_context(contextlib.ExitStack())
        # Whoever is starting a child while it is killed leaves one more: look until none is left.
        undo.callback(eventually, self._kill_all, 5)
        command = [*self._shm.command_prefix(), *self._command]
        self._process: subprocess.Popen[bytes] = self._session.start(command, self._cwd, self._env)
        self.pid = self._process.pid
        self._family.begin(self.pid)
        self._last_signal_at, self._first_signal_at = time.monotonic(), 0.0
        self._output = Output(readable)
        when_killed.callback(self._output.close)
        self._watcher = threading.Thread(target=self._watch, name="harness-watch", daemon=True)
        self._watcher.start()
        when_killed.callback(self._watcher.join, 5)

    def __exit__(self, *_error: object) -> None:
        """Kill whatever is left, and remove what it left."""
        self._undo.close()

    def _watch(self) -> None:
        self._process.wait()
        self._ended_at = time.monotonic()
        self._ended.set()

    def _descendants(self) -> list[Descendant]:
        """Return all living processes of the run, and reap the dead ones that came to us."""
        living = []
        for process in self._family.members():
            if not process.zombie:
                living.append(process)
            elif process.parent == os.getpid() and process.pid != self.pid:
                reap(process.pid)
        self._shm.observe(process.pid for process in living)
        return living

    def _observe(self) -> None:
        """Note what is mapped now, where there is no private mount to look into afterwards."""
        if not self._private_shm:
            self._descendants()

    def _kill_all(self, *, but_trackers: bool = False) -> bool:
        living = self._descendants()
        if but_trackers:
            living = [process for process in living if not process.is_tracker]
        for process in living:
            kill(process.pid)
        return not living

    @property
    def output(self) -> str:
        """Everything it has written so far."""
        return self._output.text()

    @property
    def has_ended(self) -> bool:
        """Whether the server's own process has ended."""
        return self._ended.is_set()

    @property
    def status(self) -> int | None:
        """Its exit code, or the negative number of a signal; None as long as it runs."""
        return self._process.returncode if self.has_ended else None

    def pids(self) -> list[int]:
        """Return the pids of all its living processes but the resource trackers."""
        return [process.pid for process in self._descendants() if not process.is_tracker]

    def descendants(self) -> list[str]:
        """Return ``"pid command line"`` of each living process but the server's own."""
        return [str(process) for process in self._descendants() if process.pid != self.pid]

    def wait_for_text(self, text: str, timeout: float = 20, *, count: int = 1) -> None:
        """Wait until it has written the text.

        Args:
            text: What to wait for.
            timeout: Seconds to wait.
            count: How many times the text has to be there.

        Raises:
            ServerError: The text did not come, or the server ended without it.
        """
        if not self._output.wait_for(text, count, timeout):
            message = f"{text!r} not written {count} times in {timeout} s, but:\n{self.output}"
            raise ServerError(message)
        self._observe()

    def wait_until_ready(self, timeout: float = 20) -> None:
        """Wait until it answers ``GET /``.

        Args:
            timeout: Seconds to wait.

        Raises:
            ServerError: It did not answer, or ended.
        """
        if not eventually(lambda: self._ended.is_set() or self.answers(), timeout):
            message = f"no answer in {timeout} s, but:\n{self.output}"
            raise ServerError(message)
        if self._ended.is_set():
            message = f"ended with {self._process.returncode}:\n{self.output}"
            raise ServerError(message)
        self._observe()

    def wait_until_watched(self, folder: Path, timeout: float = 20) -> None:
        """Wait until its reloader sees changes in the folder.

        uvicorn's looks 0.25 s after the app's start, and never sees a change made before.

        Args:
            folder: What the reloader watches.
            timeout: Seconds to wait.

        Raises:
            ServerError: It does not watch the folder.
        """
        inode = folder.stat().st_ino
        if not eventually(
            lambda: inode in watched_inodes(process.pid for process in self._descendants()), timeout
        ):
            message = f"{folder} not watched after {timeout} s, but:\n{self.output}"
            raise ServerError(message)

    def answers(self) -> bool:
        """Tell whether it answers ``GET /``, be it with an error."""
        ports = [self.port]
        if not self._is_told_its_port:
            ports += listening_ports(process.pid for process in self._descendants())
        for port in ports:
            with contextlib.suppress(OSError, http.client.HTTPException):
                ask(port, "GET", "/", timeout=2)
                self.port = port
                return True
        return False

    def request(self, path: str, timeout: float = 10) -> str:
        """Return the body that ``GET path`` answers.

        Args:
            path: The path, beginning with a slash.
            timeout: Seconds for each step of the connection.

        Raises:
            OSError: There is no connection or no answer in time.
            http.client.HTTPException: What answers does not speak HTTP.
        """
        _status, body = ask(self.port, "GET", path, timeout)
        return body

    @contextlib.contextmanager
    def _sending(self) -> Iterator[None]:
        """Note the time of a signal; to a server that has ended it is neither sent nor noted."""
        self._observe()
        sent_at = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            yield
            self._last_signal_at = sent_at
            self._first_signal_at = self._first_signal_at or sent_at

    def interrupt(self) -> None:
        """Press CTRL-C: on its terminal or in its console, or else send SIGINT to its group."""
        self._press(CTRL_C)

    def press_break(self) -> None:
        """Press CTRL-BREAK, in the console that a server has on Windows."""
        self._press(CTRL_BREAK)

    def _press(self, key: str) -> None:
        # A key of a terminal reaches those who have outlived the server as well.
        if self._pty or not self._ended.is_set():
            with self._sending():
                self._session.press(key)

    def signal(self, signum: int) -> None:
        """Send a signal to the server's process alone."""
        if not self._ended.is_set():
            with self._sending():
                self._session.signal(signum)

    def signal_group(self, signum: int) -> None:
        """Send a signal to the server's process group."""
        if not self._ended.is_set():
            with self._sending():
                self._session.signal(signum, group=True)

    def finish(self, timeout: float = 20) -> Outcome:
        """Wait for the end, of the tracker as well, and count what is left.

        Args:
            timeout: Seconds for the server to end before it is killed and said to hang.

        Returns:
            What was found. Living descendants are killed after they were counted.
        """
        hung = not self._wait_for_exit(timeout)
        if hung:
            self._process.kill()
            self._ended.wait(5)
        orphans = self._orphans()
        if orphans and not is_shown():
            # Only the tracker knows what has leaked, and it waits for their end.
            eventually(lambda: self._kill_all(but_trackers=True), 5)
        if not orphans or not is_shown():
            eventually(lambda: not self._descendants(), TRACKER_GRACE)
            self._output.wait_for_end(TRACKER_GRACE)
        output = self._output.text()
        outcome = Outcome(
            status=self._process.returncode,
            seconds=max(0.0, self._ended_at - self._last_signal_at),
            output=output,
            left=self._shm.names(),
            orphans=tuple(orphans),
            warnings=tuple(line for line in output.splitlines() if WARNING.search(line)),
            tracebacks=output.count(TRACEBACK),
            hung=hung,
            signalled_at=self._first_signal_at or self._last_signal_at,
            ended_at=self._ended_at,
        )
        eventually(self._kill_all, 5)
        return outcome

    def _wait_for_exit(self, timeout: float) -> bool:
        if self._private_shm:
            return self._ended.wait(timeout)

        def has_ended() -> bool:
            self._observe()
            return self._ended.is_set()

        return eventually(has_ended, timeout)

    def _orphans(self) -> list[str]:
        """Return those who outlive the server; a child may take a moment to end after it."""
        found: list[str] = []

        def all_gone() -> bool:
            descendants = self._descendants()
            found[:] = [str(process) for process in descendants if process.is_orphan]
            return not found and not any(process.is_changing for process in descendants)

        eventually(all_gone, ORPHAN_GRACE)
        return found
