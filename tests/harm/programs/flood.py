"""A worker that writes as fast as it can, and never stops, into what is cleaned.

Its words: what it writes to, what the app does with it, and whether it is registered.
"""

from __future__ import annotations

import logging
import multiprocessing
import resource
import sys
import threading
import time
from typing import Any

import asgi_mpclean

SPAWN: Any = multiprocessing.get_context("spawn")
TIMEOUT = 2.0
SIZES = {"large": 1 << 20, "small": 100}


def produce(there: Any, size: int) -> None:
    put = there.send if hasattr(there, "send") else there.put
    while True:
        put(bytes(size))


def make(what: str) -> tuple[Any, Any]:
    if what == "Pipe":
        ends: tuple[Any, Any] = SPAWN.Pipe(duplex=False)
        return ends
    if what == "socket":
        both: tuple[Any, Any] = SPAWN.Pipe()
        return both
    queue = SPAWN.SimpleQueue() if what == "SimpleQueue" else getattr(SPAWN, what)(4)
    return queue, queue


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


ON_ITEM = {
    "slow": lambda _item: time.sleep(0.02),
    "stuck": lambda _item: threading.Event().wait(),
    "none": None,
    "fails": lambda item: item.no_such_name,
}


def main(what: str, how: str, size: str, writers: str) -> None:
    here, there = make(what)
    asgi_mpclean.register(here, on_item=ON_ITEM[how])
    for _ in range(int(writers)):
        worker = SPAWN.Process(target=produce, args=(there, SIZES[size]))
        asgi_mpclean.register(worker).start()
    for _ in range(20):
        (here.recv if hasattr(here, "recv") else here.get)()
    before = peak()
    report = asgi_mpclean.clean(TIMEOUT)
    print("memory", peak() - before, "MiB")
    print("in time:", report.seconds < TIMEOUT + 0.1)
    print("ended", report.forced, "of", writers)
    first = report.resources[0]
    # In a pipe that its writer has left in the middle of an item there may be no other.
    none = how in {"none", "stuck"} or what in {"Pipe", "socket"}
    print("counted:", first.delivered > 0 or none)


if __name__ == "__main__":
    logging.getLogger("asgi_mpclean").setLevel("ERROR")
    main(*sys.argv[1:])
