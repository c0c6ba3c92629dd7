"""A worker that has to be ended, and what it has started.

Its words: what that is, and whether the worker ignores SIGTERM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import connection, get_context
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
# Told to end, it starts another one and waits for that, as what runs commands at its end does.
LATE = """
import signal, subprocess, sys, time
def start(*_):
    subprocess.run(["sleep", "61"])
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
        helper.stderr.readline()
        ready.send(helper.pid)
        time.sleep(60)


def main(what: str, session: str, ignores: str) -> None:
    there, here = get_context("spawn").Pipe()
    arguments = (what, session == "of its own", ignores == "stubborn", here)
    worker = asgi_mpclean.register(get_context("spawn").Process(target=work, args=arguments))
    worker.start()
    helper = os.pidfd_open(there.recv())
    if os.environ.get("ASGI_MPCLEAN_DISABLE"):
        worker.kill()
        worker.join()
    asgi_mpclean.clean(timeout=3)
    connection.wait([helper], 5)  # It may outlive the clean-up, and prints something at its end.
    print("the end", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
