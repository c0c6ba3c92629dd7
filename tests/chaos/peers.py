"""What the workers of the chaos suite do while they are harmed, or do harm."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.reduction import ForkingPickler
from typing import Any

from asgi_mpclean._cpython.queues import feeder_is_idle


def write_through(queue: Any, name: str, numbers: range, size: int = 0) -> None:
    """Put items, and see to it that they are in the pipe."""
    for number in numbers:
        queue.put((name, number, b"x" * size))
    while not feeder_is_idle(queue, 1):
        time.sleep(0.001)


def fill_until_asked(there: Any, asked: Any, results: Any, count: int, size: int) -> None:
    """Be a good worker: write everything, and end when asked."""
    there.send(None)
    for number in range(count):
        results.put(("results", number, b"x" * size))
    asked.recv()


def be_in_get(there: Any, queue: Any) -> None:
    there.send(None)
    queue.get()


def be_in_the_middle_of_get(there: Any, queue: Any, size: int) -> None:
    """Read a part of an item, with the readers' lock held."""
    queue._rlock.acquire()
    os.read(queue._reader.fileno(), size)
    there.send(None)
    time.sleep(600)


def be_in_wait(there: Any, event: Any) -> None:
    there.send(None)
    event.wait()


def hold(there: Any, *locks: Any) -> None:
    for lock in locks:
        lock.acquire()
    there.send(None)
    time.sleep(600)


def be_in_mid_frame(there: Any, queue: Any, name: str, whole: int, size: int) -> None:
    """Write some items, and of one more a part, with the writers' lock held."""
    write_through(queue, name, range(whole))
    frame = bytes(ForkingPickler.dumps((name, whole, b"x" * 1000)))
    frame = len(frame).to_bytes(4, "big") + frame
    queue._sem.acquire()  # As `put` counts it.
    queue._wlock.acquire()
    os.write(queue._writer.fileno(), frame[:size])
    there.send(None)
    time.sleep(600)


def write_slowly(there: Any, queue: Any, size: int) -> None:
    """Write an item that takes its time, without holding up anybody."""
    queue._sem.acquire()
    queue._wlock.acquire()
    os.write(queue._writer.fileno(), size.to_bytes(4, "big") + b"\x80")
    there.send(None)
    while True:
        os.write(queue._writer.fileno(), b"x" * 100)
        time.sleep(0.005)


def write_for_ever(there: Any, queue: Any, name: str) -> None:
    """Write items of one length until the pipe is full."""
    there.send(None)
    for number in range(1000, 10_000):
        queue.put((name, number, b"x" * 100))


def write_and_wait(there: Any, queue: Any, name: str, count: int) -> None:
    write_through(queue, name, range(count))
    there.send(None)
    time.sleep(600)


def ignore_sigterm(there: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    there.send(None)
    time.sleep(600)


def own_semaphores(there: Any, count: int, stubborn: bool) -> None:
    """Make what a death by signal leaves behind."""
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    held = [multiprocessing.get_context("spawn").Lock() for _ in range(count)]
    there.send(None)
    time.sleep(600)
    del held


def fork(there: Any, queue: Any, name: str, count: int) -> None:
    """Have a child that holds all that this process holds, and ends when this process has ended."""
    write_through(queue, name, range(count))
    parent = os.getpid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while os.getppid() == parent:
            time.sleep(0.01)
        os._exit(0)
    there.send(None)
    time.sleep(600)


def end_soon(there: Any, seconds: float) -> None:
    there.send(None)
    time.sleep(seconds)


def write_one(there: Any, queue: Any, name: str, size: int) -> None:
    """Write one very long item."""
    there.send(None)
    queue.put((name, 0, bytes(size)))
