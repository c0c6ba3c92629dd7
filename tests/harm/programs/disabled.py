"""What a program sees of the library: with ASGI_MPCLEAN_DISABLE=1, nothing.

Its words: the start method, and whether the classes are the library's or Python's.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

import asgi_mpclean

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def what_is_set() -> list[str]:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    found = [repr(signal.getsignal(number)) for number in WATCHED]
    # Hooks and threads have names of their own modules in them.
    ours = sys.unraisablehook is sys.__unraisablehook__, len(threading.enumerate())
    return [*found, f"blocked {sorted(blocked)}", f"hook and threads {ours}"]


def tell(there: Any) -> None:
    there.send(what_is_set())


def wait(there: Any) -> None:
    # The traceback of a KeyboardInterrupt is Python's, and it names the process by its class.
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
    there.send("ready")
    time.sleep(4)


def ended_by(signum: int, make: Any) -> Any:
    here, there = multiprocessing.Pipe()
    process = make(target=wait, args=(there,))
    process.start()
    here.recv()
    os.kill(process.pid, signum)
    process.join()
    return process.exitcode


def main(method: str, whose: str) -> None:
    context: Any = multiprocessing.get_context(method)
    ours = whose == "ours"
    make = (lambda **how: asgi_mpclean.Process(ctx=context, **how)) if ours else context.Process
    here, there = multiprocessing.Pipe()
    process = make(target=tell, args=(there,))
    process.start()
    print("in a worker:", *here.recv())
    process.join()
    with context.Pool(1, initializer=asgi_mpclean.worker_init if ours else None) as pool:
        print("in a pool:", *pool.apply(what_is_set))
    queue = context.Queue()
    if ours:
        asgi_mpclean.register(queue, on_item=print)
    queue.put(1)
    print("here:", *what_is_set()[:3])
    if ours:
        print("cleaned:", len(asgi_mpclean.clean(discover=True).resources))
    else:
        print("cleaned: 0")
    print("got", queue.get())
    sys.stdout.flush()
    print("exit codes", ended_by(signal.SIGINT, make), ended_by(signal.SIGTERM, make))


if __name__ == "__main__":
    main(*sys.argv[1:])
