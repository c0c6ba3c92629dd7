"""What becomes of 2000 items of 1 KiB in a queue that nobody reads, by the way of ending it.

    python tools/exits.py

It also counts the named semaphores of some things. Each runs in a process of its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import util
from queue import Empty
from typing import TYPE_CHECKING, Any

from asgi_mpclean import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ITEMS = 2000
HANG = 10.0
SPAWN = multiprocessing.get_context("spawn")


def read_until_empty(queue: Any) -> Iterator[Any]:
    """Yield the items until the queue says that it is empty."""
    with contextlib.suppress(Empty, OSError, EOFError):
        while True:
            yield queue.get_nowait()


def close_and_join(queue: Any) -> int:
    """Do what the documentation of multiprocessing says."""
    queue.close()
    queue.join_thread()
    return 0


def cancel(queue: Any) -> int:
    """Do not wait for the feeder; what is in the pipe is read to see what was not lost."""
    queue.cancel_join_thread()
    before = os.dup(queue._reader.fileno())
    queue.close()
    os.set_blocking(before, False)
    read = b""
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(before, 1 << 20):
            read += chunk
    return len(read) // 1024


def get_nowait(queue: Any) -> int:
    """Read until it is empty."""
    return sum(1 for _ in read_until_empty(queue))


def clean(queue: Any) -> int:
    """Use the library."""
    got: list[Any] = []
    registry = Registry()
    registry.register(queue, on_item=got.append)
    registry.clean()
    return len(got)


WAYS: dict[str, Callable[[Any], int]] = {
    "close() and join_thread()": close_and_join,
    "cancel_join_thread()": cancel,
    "get_nowait() until Empty": get_nowait,
    "asgi_mpclean": clean,
}


def end(way: str) -> None:
    """Fill a queue, end it, and print the items saved and the seconds."""
    clean(SPAWN.Queue())  # What is loaded by the first one, an app has loaded long before its end.
    queue = SPAWN.Queue()
    for _ in range(ITEMS):
        queue.put(bytes(1024))
    time.sleep(0.2)  # The pipe is full, and the feeder waits.
    started = time.perf_counter()
    saved = WAYS[way](queue)
    print(saved, time.perf_counter() - started, flush=True)
    os._exit(0)


def semaphores() -> Iterator[str]:
    """Yield how many named semaphores some things have."""
    make: dict[str, Callable[[], Any]] = {
        "Lock": SPAWN.Lock,
        "Queue": SPAWN.Queue,
        "JoinableQueue": SPAWN.JoinableQueue,
        "Event": SPAWN.Event,
        "ProcessPoolExecutor(1)": lambda: ProcessPoolExecutor(1, mp_context=SPAWN),
    }
    for name, function in make.items():
        before = set(util._finalizer_registry)  # type: ignore[attr-defined]
        made = function()
        if isinstance(made, ProcessPoolExecutor):
            made.submit(int).result()
        new = [util._finalizer_registry[key] for key in set(util._finalizer_registry) - before]  # type: ignore[attr-defined]
        count = sum("SemLock" in repr(finalizer._callback) for finalizer in new)
        yield f"| {name} | {count} |"
        if isinstance(made, ProcessPoolExecutor):
            made.shutdown()


def main() -> None:
    """Print both tables."""
    if sys.argv[1:]:
        end(sys.argv[1])
    print("| what you do | what happens |\n|---|---|")
    for way in WAYS:
        try:
            done = subprocess.run(
                [sys.executable, __file__, way],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
                timeout=HANG,
            )
        except subprocess.TimeoutExpired:
            print(f"| {way} | it hangs |")
        else:
            saved, seconds = done.stdout.split()
            print(f"| {way} | {saved} of {ITEMS} saved, {float(seconds) * 1000:.1f} ms |")
    print("\n| what | semaphores |\n|---|---|")
    print("\n".join(semaphores()))


if __name__ == "__main__":
    main()
