"""Workers that end by themselves, and take a while at it."""

from __future__ import annotations

import atexit
import gc
import multiprocessing.util
import signal
import sys
import threading
import time
from typing import Any

import workers


def begin(init: bool) -> None:
    """Prepare a worker, with a buffered stdout."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    if init:
        asgi_mpclean.worker_init()
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as we are


def take_a_while(ready: Any, word: str = "") -> None:
    """Be here when the signal comes, and say so unless cut short."""
    ready.set()
    for _ in range(20):
        time.sleep(0.01)
    if word:
        print(word, flush=True)


def wait_for_a_thread_at_the_end(ready: Any, init: bool) -> None:
    """Leave a thread for which Python waits."""

    def stay() -> None:
        while threading.main_thread().is_alive():
            time.sleep(0.01)
        ready.set()
        workers.wait_for_a_signal()

    begin(init)
    print("printed")
    threading.Thread(target=stay).start()


def be_slow_in_atexit(ready: Any, init: bool) -> None:
    """Have a function that Python calls at the very end, and that takes a while."""
    begin(init)
    print("printed")
    atexit.register(take_a_while, ready, "atexit")


def be_slow_in_the_feeder(results: Any, ready: Any, init: bool) -> None:
    """End with a queue that Python has still to flush."""
    begin(init)
    workers.fill(results, 300)
    multiprocessing.util.Finalize(None, ready.set, exitpriority=1)


def be_slow_in_a_finalizer(ready: Any, init: bool) -> None:
    """Have a finalizer that takes a while, and one that comes after it."""
    begin(init)
    finalize = multiprocessing.util.Finalize
    finalize(None, print, ("finalized too",), {"flush": True}, exitpriority=1)
    finalize(None, take_a_while, (ready, "finalized"), exitpriority=2)
    print("printed")


def be_slow_before_a_thread(ready: Any, init: bool) -> None:
    """Have a finalizer that takes a while and a thread that stays, whichever Python does first."""
    wait_for_a_thread_at_the_end(ready, init)
    multiprocessing.util.Finalize(None, take_a_while, (ready, "finalized"), exitpriority=1)


def be_deaf_before_a_thread(ready: Any, init: bool) -> None:
    """Do not hear the signal that comes again, as where it comes just before a wait."""
    be_slow_before_a_thread(ready, init)
    multiprocessing.util.Finalize(None, be_deaf_for_a_while, exitpriority=0)


def be_deaf_for_a_while() -> None:
    """Have no handler that does anything."""
    found = signal.signal(signal.SIGTERM, lambda *_: None)
    time.sleep(0.2)
    signal.signal(signal.SIGTERM, found)


class SlowToDie:
    """What Python runs to destroy it takes a while."""

    def __init__(self, ready: Any) -> None:
        self.ready = ready

    def __del__(self) -> None:
        """Be slow."""
        take_a_while(self.ready)


def be_slow_in_destructors(ready: Any, _init: bool) -> None:
    """Have objects destroyed, in which what a handler raises is lost."""
    begin(init=True)  # For a Process it makes no difference.
    multiprocessing.util.Finalize(None, print, ("finalized",), {"flush": True}, exitpriority=1)
    try:
        while True:
            SlowToDie(ready)
            gc.collect()  # Nothing counts references in PyPy.
            time.sleep(0.02)
    finally:
        print("finally")
