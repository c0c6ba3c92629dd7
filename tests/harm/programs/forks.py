"""A child that is forked while its parent cleans up starts anew.

Its words: who forks it, and how.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import asgi_mpclean

if TYPE_CHECKING:
    from collections.abc import Callable

SPAWN: Any = multiprocessing.get_context("spawn")
FORK: Any = multiprocessing.get_context("fork")
WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM)
UNTOUCHED = {number: signal.getsignal(number) for number in WATCHED}
CHILDREN: list[Callable[[], int]] = []


def clean_here() -> tuple[int, int]:
    got: list[int] = []
    with asgi_mpclean.Registry() as registry:
        queue = registry.register(SPAWN.Queue(), on_item=got.append)
        queue.put(1)
        time.sleep(0.05)
        return registry.clean(timeout=1).delivered, len(got)


def child() -> None:
    changed = [n.name for n in WATCHED if signal.getsignal(n) != UNTOUCHED[n]]
    print("handlers changed:", changed)
    found: list[tuple[int, int]] = [clean_here()]
    for _ in range(3):  # One of them may get the number that a thread of the parent had.
        thread = threading.Thread(target=lambda: found.append(clean_here()))
        thread.start()
        thread.join()
    print("cleaned:", set(found))
    print("inherited:", len(asgi_mpclean.clean().resources))
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(2)
    print("survived SIGINT", flush=True)


def quietly() -> None:
    try:
        child()
    except KeyboardInterrupt:
        os._exit(130)
    except Exception as error:  # noqa: BLE001 - it is told
        print(repr(error), flush=True)
    os._exit(1)


def fork(how: str) -> None:
    if how == "Process":
        process = FORK.Process(target=quietly)
        process.start()
        CHILDREN.append(lambda: (process.join(), process.exitcode)[1])
        return
    pid = os.fork()
    if pid == 0:
        quietly()
    CHILDREN.append(lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def main(who: str, how: str) -> None:
    begun, forked = threading.Event(), threading.Event()

    def on_item(_item: int) -> None:
        begun.set()
        if who == "a callback":
            fork(how)
        else:
            forked.wait(5)

    def wait_and_fork() -> None:
        begun.wait(5)
        fork(how)
        forked.set()

    asgi_mpclean.register(SPAWN.Queue(), on_item=on_item).put(1)
    other = threading.Thread(target=wait_and_fork)
    if who != "a callback":
        other.start()
    time.sleep(0.1)
    asgi_mpclean.clean()
    print("exit status", *(wait() for wait in CHILDREN), flush=True)


if __name__ == "__main__":
    logging.getLogger("asgi_mpclean").setLevel("ERROR")
    main(*sys.argv[1:])
    os._exit(0)
