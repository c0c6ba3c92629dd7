"""Running the program again: at once, or when the server has shut down.

A server is asked to stop by its own flag rather than by a signal: uvicorn raises each signal that
it has caught once more at its end, and would die of it. Told by its flag, it waits for its
connections, ends the lifespan and returns; then the program ends, and an exit function starts it
again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from typing import Any, Literal, NamedTuple

from asgi_mpclean._shutdown.signals.handler import chained
from asgi_mpclean._shutdown.state import STARTED_IN, STATE
from asgi_mpclean._worker.forked import is_forked_worker

from . import exec as _exec

# The time (seconds) for a connection that has just been accepted to send its request.
TIME_TO_READ_SECONDS = 0.1


class Restart(NamedTuple):
    """A restart that was asked for, in the middle of a server's life.

    Attributes:
        command: The program and its arguments.
        via: "exec" or "spawn".
        by_signal: The server can only be asked by a signal.
    """

    command: list[str]
    via: str
    by_signal: bool = False

    def perform(self) -> None:
        """Clean up, and begin anew; does not return."""
        _exec.make_ready()
        with contextlib.suppress(OSError, TypeError):  # The folder is gone, or was never known.
            os.chdir(STARTED_IN)  # type: ignore[arg-type]  # see above
        # Windows has no exec, and what is called so there does not quote the arguments.
        if self.via == "exec" and sys.platform != "win32":
            _exec.execv(self.command[0], self.command)
        # What PyInstaller has unpacked for this process is removed at its end.
        if getattr(sys, "frozen", False):
            os.environ["PYINSTALLER_RESET_ENVIRONMENT"] = "1"
        # Open descriptors are inherited, such as a listening socket: an exec would do the same.
        subprocess.Popen(self.command, close_fds=False)  # noqa: S603 - our own command line
        os._exit(0)


def restart(*, via: Literal["exec", "spawn"] = "exec") -> None:
    """Run this program again, with its own arguments, after a clean-up.

    In a server it returns at once: the server stops accepting, finishes its connections and its
    lifespan, and then the program begins anew. A signal that comes meanwhile stops it for good.
    What the program does after the lifespan gets `timeout` seconds. Anywhere else it does not
    return: the program begins anew without its atexit functions, as with `os.execv`.

    Args:
        via: "exec" keeps the process and its id. "spawn" starts another process and ends this one
            with status 0. On Windows, which has no exec, both are "spawn".

    Raises:
        ValueError: If `via` is something else.
        RuntimeError: In a worker process, whose supervisor has to start it again, or where Python
            does not know its own command line; in an `on_item` or another callback of a clean-up.
        FileNotFoundError: If the interpreter is not there any more.
    """
    if via not in {"exec", "spawn"}:
        msg = f"via must be 'exec' or 'spawn', not {via!r}"
        raise ValueError(msg)
    wanted = Restart(_own_command(), via)
    _exec.check(wanted.command[:1], wanted.command)
    server = _running_server()
    if server is not None:
        STATE.restart = wanted
        _stop(server)
    elif STATE.sessions and callable(_handler_found(signal.SIGTERM)):
        STATE.restart = wanted._replace(by_signal=True)
        signal.raise_signal(signal.SIGTERM)
    else:
        wanted.perform()


def _own_command() -> list[str]:
    if multiprocessing.parent_process() is not None or is_forked_worker():
        msg = "cannot restart a worker process; restart its supervisor, or end this one"
        raise RuntimeError(msg)
    arguments = sys.argv if getattr(sys, "frozen", False) else sys.orig_argv
    if not sys.executable or not arguments:
        msg = "cannot restart: this Python does not know its own command line"
        raise RuntimeError(msg)
    # By the full path: started by its name, the interpreter does not find a virtual environment.
    return [sys.executable, *arguments[1:]]


def _running_server() -> Any | None:
    """Return the server that handles the signals, if it is one of uvicorn's kind."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        server = getattr(_handler_found(signum), "__self__", None)
        if isinstance(getattr(server, "should_exit", None), bool):  # Supervisors: an Event.
            return server
    return None


def _stop(server: Any) -> None:
    """Have a server stop accepting, and then shut down.

    At its shutdown uvicorn closes each connection whose request it has not read yet.
    """
    listeners = getattr(server, "servers", ())
    for listener in listeners:
        loop = listener.get_loop()
        loop.call_soon_threadsafe(listener.close)
        loop.call_soon_threadsafe(loop.call_later, TIME_TO_READ_SECONDS, _set_flag, server)
    if not listeners:
        _set_flag(server)


def _set_flag(server: Any) -> None:
    server.should_exit = True


def _handler_found(signum: int) -> Any:
    handler: Any = signal.getsignal(signum)
    while (known := chained(handler)) is not None:
        handler = known.previous
    return handler
