"""Clean up many queues in one way and print what it took; run.py starts this once per measurement.

    python benchmarks/cleanup.py clean 1000

Every queue is a spawn-context `multiprocessing.Queue` with ten items, so every queue has a feeder
thread, as it has in an app. The items have reached the pipes, or with --just-put are still on
their way.
"""

from __future__ import annotations

import _multiprocessing  # type: ignore[import-not-found]
import argparse
import asyncio
import gc
import json
import multiprocessing
import multiprocessing.util
import os
import resource
import signal
import sys
import time
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgi_mpclean import MPCleanLifespan, Registry, register

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.queues import Queue

ITEMS = 10
ATOMIC_WRITE = 4096


def make_queues(count: int) -> list[Queue[int]]:
    """Make queues of the context that leaves named semaphores behind."""
    context = multiprocessing.get_context("spawn")
    return [context.Queue() for _ in range(count)]


def fill(queues: Sequence[Queue[int]], *, settle: bool) -> None:
    """Put the items; to settle is to wait until the feeders have written all of them."""
    for queue in queues:
        for item in range(ITEMS):
            queue.put(item)
    if not settle:
        return
    for queue in queues:
        while queue._buffer or queue.empty():  # type: ignore[attr-defined]
            time.sleep(0.001)
    time.sleep(0.2)


def semaphore_names(queues: Sequence[Queue[int]]) -> list[str]:
    """List the names of the queues' semaphores."""
    locks: list[Any] = []
    for queue in queues:
        locks += [queue._rlock, queue._wlock, queue._sem]  # type: ignore[attr-defined]
    return [lock._semlock.name for lock in locks]


def by_registry(queues: Sequence[Queue[int]]) -> Callable[[], int]:
    """Prepare `Registry.clean`, with every item stored by a list's own `append`."""
    delivered: list[int] = []
    return prepare_registry(queues, delivered, delivered.append)


def by_registry_with_code(queues: Sequence[Queue[int]]) -> Callable[[], int]:
    """Prepare the same with an `on_item` in Python, which might block and so has a thread."""
    delivered: list[int] = []

    def on_item(item: int) -> None:
        delivered.append(item)

    return prepare_registry(queues, delivered, on_item)


def prepare_registry(
    queues: Sequence[Queue[int]], delivered: list[int], on_item: Callable[[int], None]
) -> Callable[[], int]:
    """Prepare `Registry.clean`, which gives every item to `on_item`."""
    registry = Registry()
    for queue in queues:
        registry.register(queue, on_item=on_item)

    def clean() -> int:
        registry.clean(timeout=60)
        return len(delivered)

    return clean


async def app(_scope: object, _receive: object, _send: object) -> None:
    """Know no lifespan."""


class Server:
    """Raises at its end what it was told to stop by, as uvicorn's does: the process dies of it."""

    def handle_exit(self, _signum: int, _frame: object) -> None:
        """Be told to stop."""

    def capture_signals(self) -> None:
        """Be known by this name."""


def by_lifespan(queues: Sequence[Queue[int]]) -> Callable[[], int]:
    """Prepare the lifespan's end in a server that was sent SIGTERM: the process is going away."""
    signal.signal(signal.SIGTERM, Server().handle_exit)
    delivered: list[int] = []
    for queue in queues:
        register(queue, on_item=delivered.append)
    asked: asyncio.Queue[Any] = asyncio.Queue()
    answered: asyncio.Queue[Any] = asyncio.Queue()
    wrapped = MPCleanLifespan(app, timeout=60)
    loop = asyncio.new_event_loop()
    lifespan = loop.create_task(converse(wrapped, asked, answered))
    asked.put_nowait({"type": "lifespan.startup"})
    loop.run_until_complete(answered.get())
    signal.raise_signal(signal.SIGTERM)

    def clean() -> int:
        asked.put_nowait({"type": "lifespan.shutdown"})
        loop.run_until_complete(lifespan)
        return len(delivered)

    return clean


async def converse(
    wrapped: MPCleanLifespan, asked: asyncio.Queue[Any], answered: asyncio.Queue[Any]
) -> None:
    """Run a lifespan."""
    await wrapped({"type": "lifespan", "state": {}}, asked.get, answered.put)


def by_exit_function(_queues: Sequence[Queue[int]]) -> Callable[[], int]:
    """Prepare what multiprocessing itself does at interpreter exit; it delivers nothing."""

    def clean() -> int:
        multiprocessing.util._exit_function()  # type: ignore[attr-defined]
        return 0

    return clean


def by_floor(queues: Sequence[Queue[int]]) -> Callable[[], int]:
    """Prepare the system calls that cannot be spared; they deliver nothing."""
    names = semaphore_names(queues)
    pipes = [
        connection.fileno()
        for queue in queues
        for connection in (queue._reader, queue._writer)  # type: ignore[attr-defined]
    ]
    tracker: int = resource_tracker._resource_tracker._fd  # type: ignore[attr-defined]

    def clean() -> int:
        for name in names:
            _multiprocessing.sem_unlink(name)
        batch = b""
        for name in names:
            line = f"UNREGISTER:{name}:semaphore\n".encode()
            if len(batch) + len(line) > ATOMIC_WRITE:
                os.write(tracker, batch)
                batch = b""
            batch += line
        os.write(tracker, batch)
        for pipe in pipes:
            os.close(pipe)
        return 0

    return clean


METHODS = {
    "clean": by_registry,
    "clean_code": by_registry_with_code,
    "lifespan": by_lifespan,
    "exit_function": by_exit_function,
    "floor": by_floor,
}


def raise_descriptor_limit(queues: int) -> None:
    """Allow two descriptors per queue, and some."""
    wanted = 2 * queues + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            sys.exit(f"{queues} queues need {wanted} descriptors; the hard limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    """Measure one clean-up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("queues", type=int)
    parser.add_argument("--just-put", action="store_true")
    arguments = parser.parse_args()
    raise_descriptor_limit(arguments.queues)
    queues = make_queues(arguments.queues)
    # The floor takes no item: a feeder still at work would only meet a closed descriptor.
    fill(queues, settle=not arguments.just_put or arguments.method == "floor")
    names = semaphore_names(queues)
    clean = METHODS[arguments.method](queues)
    gc.collect()  # One that is due because of what went before is not the clean-up's to pay.
    started = time.monotonic()
    delivered = clean()
    seconds = time.monotonic() - started
    left = sum(Path(f"/dev/shm/sem.{name.lstrip('/')}").exists() for name in names)
    result = {
        "started": started,
        "seconds": seconds,
        "delivered": delivered,
        "semaphores_left": left,
    }
    print(json.dumps(result), flush=True)
    if arguments.method == "floor":
        # The feeders still hold descriptors that are closed now: end without asking them.
        os._exit(0)


if __name__ == "__main__":
    main()
