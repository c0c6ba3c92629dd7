"""Who else reads what is cleaned here goes on reading it.

Its words: what it is, who else reads, how it is held here, and the start method.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import sys
import time
from typing import Any

import asgi_mpclean

# What has no feeder takes what a pipe holds, and no more.
NUMBERS = {"Queue": (400, 0.0005), "JoinableQueue": (400, 0.0005)}
FEW = (12, 0.15)


def numbers_of(what: str, who: str) -> tuple[int, float]:
    """Return how many items there are, and the seconds for one."""
    return FEW if who.startswith("a slow") else NUMBERS.get(what, FEW)


def item(number: int) -> bytes:
    return number.to_bytes(4, "big") * 1000


def take(here: Any, slowly: bool) -> Any:
    if hasattr(here, "recv"):
        return here.recv()
    if not slowly:
        return here.get()
    # As `get` does it, but stopped for a moment before it reads: a busy machine, a debugger.
    with here._rlock:
        time.sleep(0.4)
        return multiprocessing.reduction.ForkingPickler.loads(here._reader.recv_bytes())


def read(here: Any, ready: Any, log: str, slowly: bool, pause: float) -> None:
    """Note each item as it comes, in a file that survives us."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    ready.set()
    try:
        while True:
            taken = take(here, slowly)
            number = int.from_bytes(taken[:4], "big")
            os.write(descriptor, b"%d " % (number if taken == item(number) else -1))
            time.sleep(pause)
    except (EOFError, OSError):  # Nobody can write any more.
        os.write(descriptor, b"-3 ")
    except BaseException:
        os.write(descriptor, b"-2 ")
        raise


def start_grandchild(context: Any, arguments: tuple[Any, ...]) -> None:
    """Be a worker that has one of its own, and wait for it."""
    context.Process(target=read, args=arguments).start()
    time.sleep(60)


def start(who: str, context: Any, arguments: tuple[Any, ...]) -> int:
    """Start a reader; returns its pid, or that of its parent."""
    if who.endswith("fork"):
        pid = os.fork()
        if pid == 0:
            read(*arguments)
        return pid
    target, given = read, arguments
    if who.endswith("grandchild"):
        target, given = start_grandchild, (context, arguments)  # type: ignore[assignment]
    worker = context.Process(target=target, args=given)
    worker.start()
    return int(worker.pid)


def make(what: str, context: Any) -> tuple[Any, Any]:
    if what in {"Pipe", "socket"}:
        ends: tuple[Any, Any] = context.Pipe(duplex=what == "socket")
        return ends
    queue = getattr(context, what)()
    return queue, queue


def prepare(what: str, who: str, how: str, context: Any, log: str) -> tuple[Any, int]:
    here, there = make(what, context)
    ready = context.Event()
    number, pause = numbers_of(what, who)
    pid = start(who, context, (here, ready, log, who.startswith("a slow"), pause))
    ready.wait()
    for n in range(number):
        (there.send if hasattr(there, "send") else there.put)(item(n))
    if how == "dropped":
        return None, pid
    if how == "registered":
        asgi_mpclean.register(here, on_item=lambda _item: None)
    return (here, there), pid


def numbers(log: str) -> list[int]:
    with open(log) as file:
        return [int(word) for word in file.read().split()]


def main(what: str, who: str, how: str, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    log = os.path.join(os.environ["FOLDER"], "log")
    kept, _pid = prepare(what, who, how, context, log)
    gc.collect()  # Nothing counts references in PyPy.
    while not numbers(log):  # It is in the middle of it.
        time.sleep(0.001)
    time.sleep(0.2 if who.startswith("a slow") else 0.05)
    before = numbers(log)
    report = asgi_mpclean.clean(timeout=2, discover=how != "registered")
    time.sleep(0.8)  # Who lives on reads what is left.
    after = numbers(log)
    total, told = numbers_of(what, who)[0], report.delivered + report.dropped
    print("in the middle:", len(before) < total)
    print("intact:", min(after) >= 0 or min(after))
    # Under the readers' lock something may be taken; where there is none that we have, nothing.
    whole = list(range(len(after))) if how == "dropped" or what in {"Pipe", "socket"} else None
    print("in order:", after == (whole or sorted(set(after))))
    print("none taken twice:", len(after) + told <= total or (len(after), told))
    print("it went on:", len(after) > len(before))
    del kept


if __name__ == "__main__":
    logging.getLogger("asgi_mpclean").setLevel("ERROR")
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
