"""Many workers on a host with other processes: how often is each of those looked at?

Its word: how many workers there are.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from typing import Any

import asgi_mpclean

SEEN = {"the other": 0, "/dev/shm": 0, "/proc": 0}
STRANGERS: list[str] = []


def look(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in {"open", "os.listdir", "os.scandir"} or not arguments:
        return
    path = str(arguments[0])
    if path.startswith(tuple(STRANGERS)):
        SEEN["the other"] += 1
    elif path in SEEN:
        SEEN[path] += 1


def idle() -> None:
    time.sleep(60)


def main(count: int) -> None:
    fork = multiprocessing.get_context("fork")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        STRANGERS.append(f"/proc/{stranger.pid}/")
        for _ in range(count):
            asgi_mpclean.register(fork.Process(target=idle)).start()
        sys.addaudithook(look)
        report = asgi_mpclean.clean()
        for what, times in SEEN.items():
            print(f"{what}: {times}")
        print("ended:", report.forced)
        stranger.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)
