"""What the workers of these programs do; light, as each of them imports it."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import signal
import sys
import time
from typing import Any


def store(go: Any, seconds: float, done: Any) -> None:
    """Once told, take some time to store a state."""
    go.wait()
    time.sleep(seconds)
    done.put(seconds)


def answer(jobs: Any, results: Any) -> None:
    """Answer each job until None comes; a job is the seconds that it takes."""
    while (job := jobs.get()) is not None:
        time.sleep(job)
        results.put(job)


def count(results: Any, pause: float) -> None:
    """Write numbers for ever."""
    number = 0
    while True:
        results.put(number)
        number += 1
        time.sleep(pause)


def take(jobs: Any) -> None:
    """Read until None comes."""
    while jobs.get() is not None:
        pass


def sleep(seconds: float) -> float:
    """Be a job; CTRL-C is for the server."""
    time.sleep(seconds)
    return seconds


remembered: list[Any] = []


def remember(event: Any) -> None:
    """Begin as a worker of a pool, whose jobs can be given nothing that is shared."""
    remembered.append(event)


def begin_and_sleep(seconds: float) -> None:
    """Be a job that says that it has begun."""
    remembered[0].set()
    time.sleep(seconds)


def ignore_interrupts() -> None:
    """Leave CTRL-C to the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def write_log(queue: Any) -> None:
    """Be the process that prints what all others log, until None comes."""
    ignore_interrupts()
    while (record := queue.get()) is not None:
        sys.stdout.write(f"LOG {record.getMessage()}\n")  # In one piece, as others print too.
        sys.stdout.flush()


def log_until_told(queue: Any, stop: Any) -> None:
    """Log into the queue, and say good-bye there."""
    ignore_interrupts()
    logger = logging.getLogger("worker")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.handlers.QueueHandler(queue))
    logger.info("worker begins")
    stop.wait()
    logger.info("worker ends")


def receive(connection: Any) -> None:
    """Read a pipe until it ends."""
    while True:
        connection.recv()


async def sleep_async(seconds: float) -> float:
    """Be a job of aiomultiprocess."""
    await asyncio.sleep(seconds)
    return seconds


def take_one_and_wait(jobs: Any) -> None:
    """Read one item, and then do something else for ever."""
    ignore_interrupts()
    jobs.get()
    while True:
        time.sleep(60)
