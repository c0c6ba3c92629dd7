"""What Python does when an app lets go of something, it does as well if that is registered.

Its word: what is let go of.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import sys
import time
import warnings
import weakref
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from asgi_mpclean import clean, register

SPAWN: Any = multiprocessing.get_context("spawn")


def echo(connection: Any) -> None:
    try:
        while True:
            print("worker:", connection.recv(), flush=True)
    except EOFError:
        print("worker: the end", flush=True)


def connection() -> None:
    here, there = SPAWN.Pipe()
    worker = SPAWN.Process(target=echo, args=(there,))
    worker.start()
    there.close()
    register(here).send("hello")
    del here  # That is how the worker is told.
    worker.join(10)
    print("exit code", worker.exitcode)
    if worker.exitcode is None:
        worker.kill()


def listener() -> None:
    made = multiprocessing.connection.Listener(("127.0.0.1", 0))
    register(made)
    address = made.address
    del made
    with multiprocessing.connection.Listener(address):
        print("the address is free")


def memory() -> None:
    block = register(SharedMemory(create=True, size=1 << 20))
    name, gone = block.name, weakref.ref(block)
    del block
    print("closed:", gone() is None)
    again = SharedMemory(name=name)
    print("still there:", again.size >= 1 << 20)
    again.close()
    again.unlink()


def pool() -> None:
    warnings.simplefilter("ignore", ResourceWarning)
    made = SPAWN.Pool(1)
    register(made)
    pid = made.apply(os.getpid)
    del made
    until = time.monotonic() + 3
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
        time.sleep(0.01)
        multiprocessing.active_children()
    print("its worker has ended:", not os.path.exists(f"/proc/{pid}"))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    clean()
    print("done")
