"""A worker that makes semaphores and opens those of others, and has to be ended.

Its words: the start method, who made what it opens, and whether it ignores SIGTERM.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import time
from typing import Any

import asgi_mpclean

LIBC = ctypes.CDLL(None)
LIBC.sem_open.restype = ctypes.c_void_p
NAMES = ("/other-service", "/mp-abcdefgh", "/loky-1-abcdefgh")


def is_there(name: str) -> bool:
    # glibc puts "sem." before it, musl nothing.
    return any(os.path.exists(f"/dev/shm/{prefix}{name[1:]}") for prefix in ("sem.", ""))


def make(names: tuple[str, ...], ready: Any, seconds: float) -> None:
    for name in names:
        LIBC.sem_open(name.encode(), os.O_CREAT, 0o600, 1)
    ready.send("made")
    time.sleep(seconds)


def work(names: tuple[str, ...], lock: Any, told: Any, stubborn: bool) -> None:
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for name in names:
        LIBC.sem_open(name.encode(), 0)
    # Whatever the start method, as those of fork have no name.
    queue: Any = multiprocessing.get_context("spawn").Queue()
    told.send([end._semlock.name for end in (queue._rlock, queue._wlock, queue._sem)])
    with lock:
        time.sleep(60)


def main(method: str, maker: str, ignores: str) -> None:
    context: Any = multiprocessing.get_context(method)
    spawn = multiprocessing.get_context("spawn")
    ready, told = spawn.Pipe()
    if maker == "itself":  # This process; the worker by fork has it from here.
        make(NAMES, told, 0)
    else:
        other = spawn.Process(target=make, args=(NAMES, told, 60 if maker == "sibling" else 0))
        other.daemon = True
        other.start()
    ready.recv()
    lock: Any = spawn.Lock()
    arguments = (NAMES, lock, told, ignores == "stubborn")
    worker = asgi_mpclean.register(context.Process(target=work, args=arguments))
    worker.start()
    own = ready.recv()
    print("the worker has made", sum(map(is_there, own)))
    report = asgi_mpclean.clean(timeout=1.5)
    print("it was", next(entry.outcome for entry in report.resources))
    print("of what it made there are", sum(map(is_there, own)))
    print("of what others made there are", sum(map(is_there, NAMES)))
    print("the lock is there:", is_there(lock._semlock.name))
    print("semaphores unlinked:", report.semaphores)
    for name in NAMES:
        LIBC.sem_unlink(name.encode())


if __name__ == "__main__":
    logging.getLogger("asgi_mpclean").setLevel("ERROR")
    main(*sys.argv[1:])
