"""Harm done to the process of the app itself; each function takes the app and does one thing."""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peers
from world import say, until

import asgi_mpclean
from asgi_mpclean._cpython.queues import feeder_is_idle
from asgi_mpclean._cpython.semaphores import semaphore_names_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from world import World

GIB = 1 << 30

# Items --------------------------------------------------------------------------------------


class Item:
    """An item that does something when it is unpickled; a plain tuple otherwise."""

    def __init__(self, name: str, number: int, does: Callable[..., Any], *args: Any) -> None:
        self._call = (does, (name, number, *args))

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def raises(name: str, number: int) -> None:
    msg = f"{name} {number} does not unpickle"
    raise ValueError(msg)


def imports(name: str, number: int) -> tuple[str, int]:
    """Import what nobody has imported yet."""
    sys.modules.pop("this_is_new", None)
    importlib.import_module("colorsys" if number else "sndhdr_is_not_there")
    return name, number


def sleeps(name: str, number: int, seconds: float) -> tuple[str, int]:
    time.sleep(seconds)
    return name, number


def put_some(world: World, queue: Any, name: str, does: Callable[..., Any], *args: Any) -> None:
    """Put items that do something among plain ones, all of them through the pipe."""
    for _ in range(world.rng.randrange(1, 20)):
        world.put(queue, name, 1)
        if world.rng.random() < 0.5:
            queue.put(Item(name, world.entered[name], does, *args))
            world.entered[name] += 1
            world.lossy[name] += does is raises
    until(lambda: feeder_is_idle(queue, 1))


def unpickling_raises(world: World) -> None:
    put_some(world, world.queue("raises"), "raises", raises)


def unpickling_imports(world: World) -> None:
    put_some(world, world.queue("imports"), "imports", imports)


def unpickling_sleeps(world: World) -> None:
    """Longer than there is time: what comes after is dropped."""
    queue = world.queue("sleeps")
    put_some(world, queue, "sleeps", sleeps, world.rng.choice((0.001, 10.0)))
    world.lossy["sleeps"] += world.entered["sleeps"]


def huge_frame(world: World) -> None:
    """One item of many reads; with `--long`, its length has a header of its own."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    # The worker holds it twice; here it is held as the pieces, the frame and the item.
    size = min(3 * GIB if "MPC_LONG" in os.environ else GIB // 4, available // 6)
    say("SIZE", size)
    world.give_time(60.0)
    queue = world.queue("huge")
    world.entered["huge"] += 1
    world.worker(peers.write_one, queue, "huge", size, stop=lambda: None)


# on_item ------------------------------------------------------------------------------------


def on_item_fault(world: World, name: str, on_item: Callable[[Any], object]) -> None:
    queue = world.queue(name, on_item=on_item)
    world.put(queue, name, world.rng.randrange(1, 50))


def on_item_raises(world: World) -> None:
    """Whatever it raises, it gets the next."""
    kinds = (ValueError, SystemExit, KeyboardInterrupt, GeneratorExit)

    def on_item(_item: Any) -> None:
        raise world.rng.choice(kinds)

    on_item_fault(world, "raising", on_item)


def on_item_blocks(world: World) -> None:
    """At some item or other; what comes after that is dropped."""
    at = world.rng.randrange(50)

    def on_item(item: Any) -> None:
        if item[1] == at:
            threading.Event().wait(600)

    on_item_fault(world, "blocking", on_item)
    world.lossy["blocking"] += max(world.entered["blocking"] - at, 0)


def on_item_registers(world: World) -> None:
    """It is refused, and what it made is closed and unlinked."""

    def on_item(_item: Any) -> None:
        with contextlib.suppress(RuntimeError):
            asgi_mpclean.register(world.ctx.Queue())
        with contextlib.suppress(RuntimeError):
            asgi_mpclean.register(world.ctx.Lock())

    on_item_fault(world, "registering", on_item)


def on_item_cleans(world: World) -> None:
    """It comes back at once."""
    on_item_fault(world, "cleaning", lambda _item: asgi_mpclean.clean(discover=True))


# Limits -------------------------------------------------------------------------------------


def descriptors_used_up(world: World) -> None:
    """Nothing can be opened any more, until the library has done its part of the exit.

    What lies behind the lock of a dead reader is dropped then: to read it needs a descriptor.
    """
    fill: list[int] = []
    found = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit() -> None:
        world.lossy.update({name: world.entered[name] for name in world.faulty})
        used = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, found[1]))
        with contextlib.suppress(OSError):
            while True:
                fill.append(os.dup(0))

    atexit.register(resource.setrlimit, resource.RLIMIT_NOFILE, found)
    asgi_mpclean.register(world.ctx.Lock())  # What is registered at the exit later runs earlier.
    world.last.append(limit)


def shm_full(world: World) -> None:
    """Whoever makes a semaphore gets an error, and half of a queue."""

    def fill() -> None:
        with contextlib.suppress(OSError), open("/dev/shm/fill", "wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        try:
            for _ in range(1000):
                world.keep(asgi_mpclean.register(world.ctx.Queue()))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.unlink("/dev/shm/fill")

    world.last.append(fill)


def semaphore_unlinked(world: World) -> None:
    """Somebody was quicker."""
    queue, lock = world.queue("unlinked"), asgi_mpclean.register(world.ctx.Lock())
    world.put(queue, "unlinked", world.rng.randrange(50))
    for name in (*semaphore_names_of(queue), *semaphore_names_of(lock)):
        if world.rng.random() < 0.5:
            os.unlink(f"/dev/shm/sem.{name[1:]}")

    def refer() -> None:
        """Have the app refer to the lock until the end."""
        assert lock is not None

    world.last.append(refer)


# Who calls, and when ------------------------------------------------------------------------


def ten_threads(world: World) -> None:
    """All at once; one does it, the others wait."""

    def end() -> None:
        together = threading.Barrier(10)

        def clean() -> None:
            together.wait()
            world.clean()

        threads = [threading.Thread(target=clean) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    world.end = end


def fork_in_the_middle(world: World) -> None:
    """The child has nothing to do with it; it ends as it likes."""
    by_exit = world.rng.random() < 0.5

    def on_item(item: Any) -> None:
        if item[1] % 10 == 0 and os.fork() == 0:
            asgi_mpclean.clean(discover=True)
            if by_exit:
                sys.exit()
            os._exit(0)

    on_item_fault(world, "forking", on_item)
