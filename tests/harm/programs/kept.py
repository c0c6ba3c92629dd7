"""What the app lets go of while there is work to come for it; many other things follow it.

Its words: what it is, the start method, and how it is held.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from typing import Any

import asgi_mpclean

OTHERS = 200
GOT: list[Any] = []


def write(there: Any, go: Any, number: int) -> None:
    go.wait()
    for n in range(number):
        (there.send if hasattr(there, "send") else there.put)(n)


def make(what: str, context: Any) -> tuple[Any, Any]:
    """Return what is registered here, and what the worker writes to."""
    if what == "connection":
        ends: tuple[Any, Any] = context.Pipe(duplex=False)
        return ends
    queue = getattr(context, what)()
    return queue, queue


def start(what: str, context: Any, how: str) -> tuple[Any, Any]:
    here, there = make(what, context)
    on_item = None if how == "no on_item" else GOT.append
    asgi_mpclean.register(here, name="kept", on_item=on_item)
    go = context.Event()
    if how == "own items":
        write(here, context.Event() if go.set() else go, 10)
        return None, go
    worker = asgi_mpclean.Process(target=write, args=(there, go, 10), ctx=context)
    worker.start()
    return worker, go  # Nobody here has what is registered.


def main(what: str, method: str, how: str) -> None:
    context: Any = multiprocessing.get_context(method)
    worker, go = start(what, context, how)
    time.sleep(0.3)  # What it put itself is in the pipe by now, and its feeder idle.
    for _ in range(OTHERS):
        asgi_mpclean.register(context.Lock())
    go.set()
    if worker is not None:
        worker.join()
    for _ in range(OTHERS):
        asgi_mpclean.register(context.Lock())
    report = asgi_mpclean.clean()
    print("received", sorted(GOT) == list(range(len(GOT))) and len(GOT), "dropped", report.dropped)


if __name__ == "__main__":
    logging.getLogger("asgi_mpclean").setLevel("ERROR")
    main(*sys.argv[1:])
