"""A worker has ended, somebody has reaped it, and its number is another process's.

Its words: the start method, who reaps, and whose the other process is. It has to run in a PID
namespace of its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
from typing import Any

import asgi_mpclean

LAST = "/proc/sys/kernel/ns_last_pid"
# Its parent is gone at once.
STRANGER = f"echo $0 >{LAST}; setsid sleep 60 </dev/null >/dev/null 2>&1 & echo $!"


def start_as(pid: int, *, ours: bool) -> int:
    """Start a process that has `pid`; a thread may be quicker, so that it takes some trials."""
    for _ in range(200):
        if ours:
            with open(LAST, "w") as last:
                last.write(str(pid - 1))
            process = subprocess.Popen(["sleep", "60"])  # noqa: S607 - whichever it is
            if process.pid == pid:
                process.returncode = 0  # Nobody is to wait for it.
                return pid
            process.kill()
            process.wait()
        else:
            shell = ["sh", "-c", STRANGER, str(pid - 1)]
            started = int(subprocess.run(shell, stdout=subprocess.PIPE, check=False).stdout)
            if started == pid:
                return pid
            os.kill(started, signal.SIGKILL)
    return -1


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(") ")[2][0] in "RSD"
    except OSError:
        return False


def main(method: str, reaper: str, whose: str) -> None:
    context: Any = multiprocessing.get_context(method)
    if reaper == "the kernel":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # As many daemons do.
    worker = asgi_mpclean.register(context.Process(target=int))
    worker.start()
    print("it has ended:", bool(multiprocessing.connection.wait([worker.sentinel], 20)))
    if reaper == "the app":
        os.waitpid(worker.pid, 0)
    elif reaper == "the kernel":
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(worker.pid, 0)
                os.sched_yield()
    pid = start_as(worker.pid, ours=whose == "ours")
    print("another has its number:", pid == worker.pid)
    report = asgi_mpclean.clean(timeout=2)
    print("it was signalled:", report.forced > 0)
    print("the other lives:", lives(pid))
    print("at once:", report.seconds < 1)
    sys.stdout.flush()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
