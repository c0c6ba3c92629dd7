"""A program that begins anew whenever a file changes: by exec, in the same process.

Start it, change a file beside it, and press CTRL-C:

    python examples/hot_reload.py
    touch examples/hot_reload.py

It watches its own folder, or the one that it is given.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

import watchfiles

from asgi_mpclean import Process, register, restart

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

spawn = multiprocessing.get_context("spawn")
JOBS = 1000


def square_numbers(jobs: Queue[int | None], results: Queue[int]) -> None:
    """Run in the worker process, until the sentinel comes."""
    for number in iter(jobs.get, None):
        results.put(number * number)


def main(folder: str) -> None:
    """Work, until something changes; the clean-up needs no code."""
    left: list[int] = []
    jobs: Queue[int | None] = register(spawn.Queue(), name="jobs", on_item=left.append)
    results: Queue[int] = register(spawn.Queue(), name="results", on_item=left.append)
    worker = Process(
        target=square_numbers, args=(jobs, results), ctx=spawn, stop=lambda: jobs.put(None)
    )
    worker.start()
    for number in range(JOBS):
        jobs.put(number)
    print(f"process {os.getpid()} works: the first result is {results.get()}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):  # CTRL-C is how one stops it.
        for changes in watchfiles.watch(folder):
            print(f"{len(changes)} files changed", flush=True)
            restart()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
