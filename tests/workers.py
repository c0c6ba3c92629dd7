"""What the children of the tests run."""

from __future__ import annotations

import contextlib
import functools
import mmap
import multiprocessing
import multiprocessing.reduction
import multiprocessing.util
import os
import queue
import signal
import sys
import threading
import time
from typing import Any


def save_coverage_before_death() -> None:
    """Have what this process did measured, although a signal is going to kill it."""
    coverage = sys.modules.get("coverage")
    if coverage is None or (measuring := coverage.Coverage.current()) is None:
        return
    raise_signal = signal.raise_signal

    def save_and_raise(signum: int) -> None:
        measuring.save()
        raise_signal(signum)

    signal.raise_signal = save_and_raise


def wait_for_a_signal() -> None:
    """Sleep in steps: Python runs no handler for a signal just before a sleep, until that ends."""
    while True:
        time.sleep(0.05)


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
    wait_for_a_signal()


def wait_for(event: Any) -> None:
    """End when asked."""
    event.wait()


def ignore_sigterm(ready: Any) -> None:
    """Be stubborn."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    wait_for_a_signal()


def sleep(ready: Any) -> None:
    """Wait for a signal."""
    ready.set()
    wait_for_a_signal()


def make_lock_and_sleep(connection: Any) -> None:
    """Own a semaphore that a death by signal leaves behind, and tell its name."""
    lock: Any = multiprocessing.get_context("spawn").Lock()
    connection.send(lock._semlock.name)
    wait_for_a_signal()


def die_holding(lock: Any, ready: Any) -> None:
    """Die with a lock held, as a killed reader or writer does."""
    lock.acquire()
    ready.set()
    os.kill(os.getpid(), signal.SIGKILL)


def hold(lock: Any, ready: Any) -> None:
    """Keep a lock, alive and well."""
    lock.acquire()
    sleep(ready)


def read_for_ever(jobs: Any) -> None:
    """Take jobs, and wait for more."""
    while True:
        jobs.get()


def read_and_hold(queue: Any, ready: Any, count: int) -> None:
    """Read a little, then stop for ever before the next item, as `get` does in a debugger."""
    for _ in range(count):
        queue.get()
    queue._rlock.acquire()
    ready.set()
    wait_for_a_signal()


def register_too_late(lock: Any, answer: Any) -> None:
    """Register what another process has made, during a clean-up."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    registry = asgi_mpclean.Registry()
    registry.begin_shutdown()
    try:
        registry.register(lock)
    except RuntimeError as error:
        answer.send(str(error))


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
        wait_for_a_signal()
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


class InterruptedBirth:
    """Has CTRL-C come while a spawned child unpickles it, before any code of the library's."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_be_interrupted, ())

    def __str__(self) -> str:
        return "born"


def _be_interrupted() -> InterruptedBirth:
    os.kill(os.getpid(), signal.SIGINT)
    return InterruptedBirth()


def say_how_it_lives() -> None:
    """Tell what a library can have changed in this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        handler: Any = signal.getsignal(number)
        print(number, getattr(handler, "__qualname__", handler), flush=True)
    print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), flush=True)
    print(threading.active_count(), flush=True)


def clean_everything(answer: Any) -> None:
    """Clean up in a child that has inherited everything and owns nothing."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    before = len(asgi_mpclean.default_registry)  # type: ignore[attr-defined]
    report = asgi_mpclean.clean(discover=True)
    answer.send((before, report.semaphores, report.delivered, report.dropped))


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


def compute_in_a_crowd(results: Any, seconds: float) -> None:
    """Compute where another process hardly lets this one have its turn."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    this = os.getpid()
    other = os.fork()
    if not other:
        while os.getppid() == this:
            pass
        os._exit(0)
    results.put("started")
    normal = os.sched_getscheduler(0)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # This thread: a turn in a second.
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, normal, os.sched_param(0))
    results.put("done")


def prefer(pid: int | None) -> None:
    """Have a process compute even where others keep all processors busy, if we may."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid or 0, -20)


def fill_as_an_app_does(results: Any, count: int) -> None:
    """Write results as a worker whose module makes an app, and end."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    app: Any = print
    asgi_mpclean.MPCleanLifespan(app, timeout=0.5)
    fill(results, count)


def begin_and_sleep(path: str, seconds: float) -> None:
    """Show that the job has begun, and take a while."""
    with open(path, "w", encoding="utf-8"):
        pass
    time.sleep(seconds)


def begin_and_end_slowly(path: str, seconds: float) -> None:
    """Be a job that takes a moment when its worker is told to end."""
    try:
        begin_and_sleep(path, seconds)
    finally:
        time.sleep(0.5)


def begin_and_ignore_sigterm(path: str, seconds: float) -> None:
    """Be a stubborn job."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    begin_and_sleep(path, seconds)


def clean_registered(resource: Any, answer: Any) -> None:
    """Register and clean up something that was inherited."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    registry = asgi_mpclean.Registry()
    registry.register(resource)
    answer.send([entry.outcome for entry in registry.clean().resources])


def init_and_finalize(path: str) -> None:
    """Be a worker of a pool that shows that its finalizers run."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    asgi_mpclean.worker_init()
    finalize: Any = multiprocessing.util.Finalize
    finalize(None, begin_and_sleep, (path, 0), exitpriority=1)


def clean_discovered(_resource: Any, answer: Any) -> None:
    """Clean up whatever there is."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    report = asgi_mpclean.clean(discover=True)
    answer.send([entry.outcome for entry in report.resources])


def map_and_sleep(path: str, ready: Any) -> None:
    """Have a file of somebody else's mapped, until killed."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0):
        ready.set()
        wait_for_a_signal()


def write_when_asked(ready: Any, asked: Any, shared: Any) -> None:
    """Use what a manager serves to the very end."""
    ready.set()
    asked.wait()
    time.sleep(0.2)
    shared["answer"] = 42


def grow(folder: str, depth: int, method: str, plain: bool, stubborn: bool) -> None:
    """Write down the pid, start a worker that does the same, and stay."""
    import asgi_mpclean  # noqa: PLC0415 - in the child

    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    begin_and_sleep(os.path.join(folder, str(os.getpid())), 0)
    if depth:
        context: Any = multiprocessing.get_context(method)
        make = context.Process if plain else functools.partial(asgi_mpclean.Process, ctx=context)
        make(target=grow, args=(folder, depth - 1, method, plain, stubborn)).start()
    wait_for_a_signal()


def serve(folder: str, method: str, kind: str, stubborn: bool) -> None:
    """Be a server with two workers, until killed."""
    import concurrent.futures  # noqa: PLC0415 - only here

    import asgi_mpclean  # noqa: PLC0415 - in the child

    context: Any = multiprocessing.get_context(method)
    job = (folder, 0, method, False, stubborn)
    if kind == "Process":
        for _ in range(2):
            asgi_mpclean.Process(target=grow, args=job, ctx=context).start()
    elif kind == "Pool":
        pool = context.Pool(2, asgi_mpclean.worker_init)
        pool.starmap(grow, [job] * 2, chunksize=1)
    else:
        executor = concurrent.futures.ProcessPoolExecutor(2, context, asgi_mpclean.worker_init)
        concurrent.futures.wait([executor.submit(grow, *job) for _ in range(2)])
    wait_for_a_signal()


def work_one(jobs: Any, results: Any, wait: float) -> None:
    """Do a job, if one comes in time."""
    with contextlib.suppress(queue.Empty):
        job = jobs.get(timeout=wait)
        time.sleep(0.02)
        results.put(job)


def work_until_none(jobs: Any, results: Any) -> None:
    """Do jobs until a sentinel comes."""
    while (job := jobs.get()) is not None:
        time.sleep(0.02)
        results.put(job)


def work_until_set(jobs: Any, results: Any, asked: Any) -> None:
    """Do jobs until an event is set."""
    while not asked.is_set():
        work_one(jobs, results, 0.1)


def work_until_closed(jobs: Any, results: Any, alive: Any, inherited: Any) -> None:
    """Do jobs until the other end of a pipe is closed."""
    if inherited is not None:
        inherited.close()
    while not alive.poll():
        work_one(jobs, results, 0.1)


def die() -> None:
    """Die without a word."""
    os._exit(1)
