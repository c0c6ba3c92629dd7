"""A worker that has to be ended, and what it has started.

Its words: what that is, and whether the worker ignores SIGTERM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from typing import Any

import asgi_mpclean

# It cleans up when its client is gone, as resource trackers and torch's shared memory manager do.
HELPER = """
import os, sys, time
print("ready", file=sys.stderr, flush=True)
sys.stdin.read()
time.sleep(0.2)
os.write(1, b"the helper has cleaned up\\n")
"""
# Told to end, it starts another one, as a supervisor does that was told too late.
LATE = """
import signal, subprocess, sys, time
def start(*_):
    subprocess.Popen(["sleep", "61"])
    sys.exit()
signal.signal(signal.SIGTERM, start)
print("ready", file=sys.stderr, flush=True)
time.sleep(60)
"""
# It starts the one that it looks after again whenever that has ended.
RESTARTER = """
import subprocess, sys
print("ready", file=sys.stderr, flush=True)
while True:
    subprocess.run(["sleep", "62"])
"""
PROGRAMS = {"helper": HELPER, "late": LATE, "restarter": RESTARTER}


def work(what: str, session: bool, stubborn: bool, ready: Any) -> None:
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    command = [sys.executable, "-c", PROGRAMS[what]]
    pipe = subprocess.PIPE
    # The worker alone has the other end of what it reads.
    with subprocess.Popen(
        command, stdin=pipe, stderr=pipe, text=True, start_new_session=session
    ) as helper:
        assert helper.stderr is not None
        ready.send(helper.stderr.readline())
        time.sleep(60)


def main(what: str, session: str, ignores: str) -> None:
    there, here = get_context("spawn").Pipe()
    arguments = (what, session == "of its own", ignores == "stubborn", here)
    worker = asgi_mpclean.register(get_context("spawn").Process(target=work, args=arguments))
    worker.start()
    there.recv()
    if os.environ.get("ASGI_MPCLEAN_DISABLE"):
        worker.kill()
        worker.join()
    asgi_mpclean.clean(timeout=3)


if __name__ == "__main__":
    main(*sys.argv[1:])
    time.sleep(1)  # For the helper, which may outlive us: it prints the last line.
    print("the end", flush=True)
