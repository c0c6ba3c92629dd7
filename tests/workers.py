"""What the children of the tests run."""

from __future__ import annotations

import multiprocessing
import multiprocessing.reduction
import os
import signal
import time
from typing import Any


def echo(jobs: Any, results: Any) -> None:
    """Answer each job until None comes."""
    while (job := jobs.get()) is not None:
        results.put(job)


def fill(results: Any, count: int, size: int = 1024) -> None:
    """Write numbered results that nobody may read."""
    for number in range(count):
        results.put((number, b"x" * size))


def fill_and_sleep(results: Any, count: int) -> None:
    """Write results, and stay."""
    fill(results, count)
    time.sleep(600)


def wait_for(event: Any) -> None:
    """End when asked."""
    event.wait()


def ignore_sigterm(ready: Any) -> None:
    """Be stubborn."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    time.sleep(600)


def sleep(ready: Any) -> None:
    """Wait for a signal."""
    ready.set()
    time.sleep(600)


def make_lock_and_sleep(ready: Any, held: list[Any]) -> None:
    """Own a semaphore that a death by signal leaves behind."""
    held.append(multiprocessing.get_context("spawn").Lock())
    ready.set()
    time.sleep(600)


def die_holding(lock: Any, ready: Any) -> None:
    """Die with a lock held, as a killed reader or writer does."""
    lock.acquire()
    ready.set()
    os.kill(os.getpid(), signal.SIGKILL)


def die_reading(queue: Any, size: int) -> None:
    """Die with a part of an item read, as a worker killed inside `get`."""
    queue._rlock.acquire()
    os.read(queue._reader.fileno(), size)
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_frame(queue: Any, ready: Any) -> None:
    """Die in the middle of writing an item, with the writers' lock held."""
    queue._wlock.acquire()
    os.write(queue._writer.fileno(), b"\x00\x00\x10\x00half")
    ready.set()
    os.kill(os.getpid(), signal.SIGKILL)


def finally_writes(path: str, ready: Any) -> None:
    """Show that a `finally` block has run."""
    try:
        ready.set()
        time.sleep(600)
    finally:
        with open(path, "w", encoding="utf-8") as file:
            file.write("finally")


def report_sigint(results: Any) -> None:
    """Tell how this process takes CTRL-C."""
    results.put(
        (
            signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
            signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        )
    )


def clean_everything(answer: Any) -> None:
    """Clean up in a child that has inherited everything and owns nothing."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    before = len(asgi_mpclean.clean.__self__)  # type: ignore[attr-defined]
    report = asgi_mpclean.clean(discover=True)
    answer.send((before, report.semaphores, report.delivered, report.dropped))


def zombies() -> None:
    """Print whether this process has a child."""
    try:
        print("a child", os.waitpid(-1, os.WNOHANG))
    except ChildProcessError:
        print("no children")


def slow_frame(queue: Any, pause: float, parts: int) -> None:
    """Write one item so slowly that it is met half written."""
    payload = bytes(multiprocessing.reduction.ForkingPickler.dumps(b"x" * 1000))
    frame = len(payload).to_bytes(4, "big") + payload
    with queue._wlock:
        for part in range(parts):
            step = len(frame) // parts + 1
            os.write(queue._writer.fileno(), frame[part * step : (part + 1) * step])
            time.sleep(pause)


def endless_frame(queue: Any, ready: Any) -> None:
    """Write an item of a length that it never reaches."""
    queue._wlock.acquire()
    os.write(queue._writer.fileno(), (1 << 30).to_bytes(4, "big"))
    ready.set()
    while True:
        os.write(queue._writer.fileno(), b"x")
        time.sleep(0.005)


def register_and_end(answers: Any, method: str) -> None:
    """Leave an item in a queue of this process's own, and end."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    mail = asgi_mpclean.register(
        multiprocessing.get_context(method).Queue(), on_item=answers.send_bytes
    )
    mail.put(b"item")


def compute(results: Any, seconds: float) -> None:
    """Be busy for a while, without a word, and answer then."""
    results.put("started")
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    results.put("done")


def fill_as_an_app_does(results: Any, count: int) -> None:
    """Write results as a worker whose module makes an app, and end."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    app: Any = print
    asgi_mpclean.MPCleanLifespan(app, timeout=0.5)
    fill(results, count)
