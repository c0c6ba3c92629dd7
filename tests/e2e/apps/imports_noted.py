"""A program that makes one of everything, is stopped, and says what is imported meanwhile.

    python imports_noted.py serve|script spawn|forkserver|fork registered|unregistered [stopped]

As a server it makes everything once its lifespan has begun, as a script after the first `register`:
from then on the library must have all that it needs. `stopped` keeps a script waiting for a signal.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ITEMS = 3
MADE: list[object] = []


class Recorder:
    """Stands before all finders, which are asked for each module that is not loaded yet."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        """Say what is looked for, when, and whether code of the library is among the callers."""
        if os.getpid() != self._pid:  # A worker by fork.
            return
        frame: Any = sys._getframe()
        while frame is not None and "/asgi_mpclean/_" not in frame.f_code.co_filename:
            frame = frame.f_back
        line = "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
        os.write(1, f"import {time.monotonic()} {name} {line}\n".encode())


def wait(_event: Any = None) -> None:
    """Be a worker, or a job."""
    time.sleep(60)


def fail(*_args: object) -> None:
    """Be a callback that goes wrong, which has to be logged."""
    raise LookupError


def everything(method: str) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Make one of everything, with the options to register it with."""
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - now, not at the start
    from multiprocessing.shared_memory import ShareableList, SharedMemory  # noqa: PLC0415

    context: Any = multiprocessing.get_context(method)
    queues = {name: getattr(context, name)() for name in ("Queue", "JoinableQueue", "SimpleQueue")}
    for queue in queues.values():
        for number in range(ITEMS):
            queue.put(number)
    event = context.Event()
    worker = context.Process(target=wait, args=(event,), daemon=True)
    worker.start()
    pool = context.Pool(1)
    pool.map_async(wait, [1])
    executor = ProcessPoolExecutor(1, context)
    executor.submit(time.sleep, 2)  # Python may wait for it, as for all jobs of executors.
    ours, theirs = context.Pipe()
    theirs.send(1)
    options: dict[str, dict[str, Any]] = {
        "Queue": {"on_item": print},
        "JoinableQueue": {"on_item": fail},
        "worker": {"stop": fail},
    }
    things = queues | {"event": event, "worker": worker, "pool": pool, "executor": executor}
    things |= {"manager": context.Manager(), "memory": SharedMemory(create=True, size=10)}
    things |= {"list": ShareableList([1]), "here": ours, "there": theirs}
    return {name: (thing, options.get(name, {})) for name, thing in things.items()}


def make(method: str, registered: bool, register: Callable[..., object]) -> None:
    """Make everything, register it or not, and begin to note."""
    for thing, options in everything(method).values():
        MADE.append(thing)
        if registered:
            register(thing, **options)
    sys.meta_path.insert(0, Recorder())
    with contextlib.suppress(ImportError):
        importlib.import_module("proof_that_this_is_noted")


def serve(method: str, registered: bool) -> None:
    """Be a server."""
    import uvicorn  # noqa: PLC0415 - workers need none of it
    from starlette.applications import Starlette  # noqa: PLC0415

    import asgi_mpclean  # noqa: PLC0415

    async def lifespan(_app: object) -> AsyncIterator[None]:
        make(method, registered, asgi_mpclean.register)
        yield

    app = Starlette(lifespan=asgi_mpclean.mpclean_lifespan(lifespan, timeout=3))
    uvicorn.run(app, port=int(os.environ["PORT"]))


def script(method: str, registered: bool) -> None:
    """Be a script that cleans up as a server does when it ends by itself or by a signal."""
    import asgi_mpclean  # noqa: PLC0415 - workers need none of it

    app: Any = print
    asgi_mpclean.MPCleanLifespan(app, timeout=3)
    asgi_mpclean.register(multiprocessing.get_context("spawn").Lock())
    make(method, registered, asgi_mpclean.register)
    print("ready", flush=True)
    while "stopped" in sys.argv:
        time.sleep(0.05)
    print(f"ends {time.monotonic()}", flush=True)


if __name__ == "__main__":
    role, method, whether = sys.argv[1:4]
    {"serve": serve, "script": script}[role](method, whether == "registered")
