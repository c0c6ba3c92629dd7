"""An app that registers things, uses them and ends them itself, for a long time.

Its words: which things, how they are ended, and how many. It prints what is left then.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import multiprocessing.managers
import multiprocessing.pool
import multiprocessing.shared_memory
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import asgi_mpclean

if TYPE_CHECKING:
    from collections.abc import Callable

SPAWN: Any = multiprocessing.get_context("spawn")
FORK: Any = multiprocessing.get_context("fork")
REGISTRY = asgi_mpclean.Registry()


class Ring:
    """A class of somebody else's."""

    def __init__(self) -> None:
        self.closed = False
        self.descriptors = os.pipe()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            for descriptor in self.descriptors:
                os.close(descriptor)


class SlotsRing(Ring):
    """The same, and nothing can refer to it weakly."""

    __slots__ = ("closed", "descriptors")


class BareRing:
    """The same without a dictionary."""

    __slots__ = ("closed", "descriptors")
    __init__ = Ring.__init__
    close = Ring.close


def put_and_get(queue: Any) -> None:
    queue.put(1)
    assert queue.get() == 1
    with contextlib.suppress(AttributeError):
        queue.task_done()


def end_queue(queue: Any) -> None:
    queue.close()
    with contextlib.suppress(AttributeError):
        queue.join_thread()


def run_process(process: Any) -> None:
    process.start()
    process.join()


def end_memory(memory: Any) -> None:
    memory.close()
    memory.unlink()


def end_pool(pool: Any) -> None:
    pool.close()
    pool.join()


def started_manager() -> Any:
    manager = multiprocessing.managers.SyncManager(ctx=FORK)
    manager.start()
    return manager


def no_use(_thing: Any) -> None:
    """Use nothing."""


Kind = tuple["Callable[[], Any]", "Callable[[Any], object]", "Callable[[Any], object]"]
# How each is made, used, and ended; what is ended "by dropping" is only let go.
KINDS: dict[str, Kind] = {
    "queue": (SPAWN.Queue, put_and_get, end_queue),
    "joinable": (SPAWN.JoinableQueue, put_and_get, end_queue),
    "simple": (SPAWN.SimpleQueue, put_and_get, lambda queue: queue.close()),
    "lock": (SPAWN.Lock, lambda lock: lock.acquire(), lambda lock: lock.release()),
    "event": (SPAWN.Event, lambda event: event.set(), no_use),
    "condition": (SPAWN.Condition, no_use, no_use),
    "barrier": (lambda: SPAWN.Barrier(1), lambda barrier: barrier.wait(), no_use),
    "value": (lambda: SPAWN.Value("i"), no_use, no_use),
    "array": (lambda: SPAWN.Array("i", 9), no_use, no_use),
    "process": (lambda: FORK.Process(target=int), run_process, lambda process: process.close()),
    "pool": (lambda: FORK.Pool(1), lambda pool: pool.apply(int), end_pool),
    "terminated_pool": (
        lambda: FORK.Pool(1),
        no_use,
        lambda pool: (pool.terminate(), pool.join()),
    ),
    "thread_pool": (
        lambda: multiprocessing.pool.ThreadPool(1),
        lambda pool: pool.apply(int),
        end_pool,
    ),
    "executor": (
        lambda: concurrent.futures.ProcessPoolExecutor(1, mp_context=FORK),
        lambda executor: executor.submit(int).result(),
        lambda executor: executor.shutdown(),
    ),
    "manager": (started_manager, no_use, lambda manager: manager.shutdown()),
    "memory": (
        lambda: multiprocessing.shared_memory.SharedMemory(create=True, size=1 << 20),
        no_use,
        end_memory,
    ),
    "list": (
        lambda: multiprocessing.shared_memory.ShareableList(range(9)),
        no_use,
        lambda shared: end_memory(shared.shm),
    ),
    "connection": (
        lambda: FORK.Pipe()[0],
        no_use,
        lambda connection: connection.close(),
    ),
    "listener": (
        multiprocessing.connection.Listener,
        no_use,
        lambda listener: listener.close(),
    ),
    "custom": (Ring, no_use, lambda ring: ring.close()),
    "slots": (SlotsRing, no_use, lambda ring: ring.close()),
    "bare": (BareRing, no_use, lambda ring: ring.close()),
}
ENDED_BY_STOP = {"process", "pool", "terminated_pool", "thread_pool", "executor"}


class Owner:
    """Has a thing and what the registry is to call: each refers to the other."""

    def __init__(self, kind: str, thing: Any) -> None:
        self.thing = thing
        if kind in ENDED_BY_STOP:
            REGISTRY.register(thing, stop=self.call)
        elif kind in {"queue", "joinable", "simple", "connection", "custom", "slots", "bare"}:
            REGISTRY.register(thing, on_item=self.call)
        else:
            REGISTRY.register(thing)

    def call(self, *_item: Any) -> None:
        """Be `stop` or `on_item`."""


def once(kind: str, way: str) -> None:
    make, use, end = KINDS[kind]
    thing = make()
    if way == "in a cycle":
        Owner(kind, thing)
    else:
        REGISTRY.register(thing)
    use(thing)
    if way != "by dropping":
        end(thing)


def left() -> tuple[int, int, int, int]:
    for _ in range(5):
        gc.collect()  # In PyPy what a destructor lets go of is left to the next time.
    descriptors = len(os.listdir("/proc/self/fd"))
    return descriptors, threading.active_count(), len(REGISTRY), len(os.listdir("/dev/shm"))


def main(kind: str, way: str, number: int) -> None:
    for ring in (Ring, BareRing):
        asgi_mpclean.add_kind(ring, lambda ring, _seconds: ring.close())
    once(kind, way)  # Helpers, such as the resource tracker, are started.
    before = left()
    for _ in range(number):
        once(kind, way)
    for what, was, now in zip(
        ("descriptors", "threads", "entries", "names"), before, left(), strict=True
    ):
        print(f"{what}: {now - was}")
    REGISTRY.clean()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
