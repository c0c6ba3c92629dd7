"""What people do instead of using a library, done to the apps of the end-to-end tests.

`cells.py` names one in MPC_ALTERNATIVE, and the apps call `around` with their lifespan.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import multiprocessing
import os
from multiprocessing import queues, util
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from matrix_cells import Cell


@dataclasses.dataclass(frozen=True)
class Alternative:
    """Something that people do.

    Attributes:
        title: What a person calls it.
        env: The environment that makes the servers do it.
        library: Whether that is to use asgi_mpclean.
        framework: The framework whose own clean-up it is.
        server: The server that it works with, if not with all.
    """

    title: str
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    library: bool = False
    framework: str | None = None
    server: str | None = None

    def fits(self, cell: Cell) -> bool:
        """Tell whether it can be done in this cell."""
        return self.server is None or cell.server.startswith(self.server)

    def changed(self, cell: Cell) -> Cell:
        """Return the cell with the framework that it is about."""
        return dataclasses.replace(cell, framework=self.framework or cell.framework)


HOOKS = Path(__file__).with_name("gunicorn_hooks.py")
SILENCE = "ignore::UserWarning"

ALTERNATIVES = [
    Alternative("nothing"),
    Alternative("`multiprocessing.util._exit_function()`", {"MPC_ALTERNATIVE": "exit_function"}),
    Alternative("`cancel_join_thread()`", {"MPC_ALTERNATIVE": "cancel_join_thread"}),
    Alternative("`daemon=True`", {"MPC_ALTERNATIVE": "daemon"}),
    Alternative("`terminate()` and `join()`", {"MPC_ALTERNATIVE": "terminate"}),
    Alternative("silencing the warning", {"PYTHONWARNINGS": SILENCE}),
    Alternative("`os._exit(0)`", {"MPC_ALTERNATIVE": "os_exit"}),
    Alternative("NiceGUI's own clean-up", framework="nicegui"),
    Alternative("gunicorn's hooks", {"GUNICORN_CMD_ARGS": f"--config {HOOKS}"}, server="gunicorn"),
    Alternative("asgi_mpclean", library=True),
]


def end_workers() -> None:
    """Terminate the workers and wait for them."""
    for process in multiprocessing.active_children():
        process.terminate()
    for process in multiprocessing.active_children():
        process.join()


def cancel_join_threads() -> None:
    """Have the exit wait for no queue, and close them."""
    for queue in [thing for thing in gc.get_objects() if isinstance(thing, queues.Queue)]:
        queue.close()
        queue.cancel_join_thread()


def exit_now() -> None:
    """End the process at once, without any clean-up."""
    os._exit(0)


AT_END: dict[str, Callable[[], object]] = {
    "exit_function": util._exit_function,  # type: ignore[attr-defined]
    "cancel_join_thread": cancel_join_threads,
    "terminate": end_workers,
    "os_exit": exit_now,
}


def start_as_daemons() -> None:
    """Have all processes be daemons."""
    start = BaseProcess.start

    def start_daemon(process: BaseProcess) -> None:
        process.daemon = True
        start(process)

    BaseProcess.start = start_daemon  # type: ignore[method-assign,assignment]


def around(name: str, lifespan: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the lifespan with what people do at its end."""

    @contextlib.asynccontextmanager
    async def changed(app: Any) -> AsyncIterator[Any]:
        if name == "daemon":
            start_as_daemons()
        async with lifespan(app) as state:
            yield state
        AT_END.get(name, lambda: None)()

    return changed
