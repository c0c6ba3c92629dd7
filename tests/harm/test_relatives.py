"""Pools of other packages: nothing is printed that is not printed without us; nothing is left."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING

import kit
import pytest

if TYPE_CHECKING:
    from asgi_mpclean._check.outcome import Outcome

UVICORN = ("relatives_app:app", "--port", "{port}", "--log-level", "warning")
TIMEOUT = 3.0
SLACK = 2.5
# What workers print whom CTRL-C meets anywhere, also where their Python is just starting.
INTERRUPTED = (
    "Process ",
    "Traceback ",
    "KeyboardInterrupt",
    "Exception ignored ",
    "Fatal Python error: init_import_site",
    "Python runtime state: ",
)
long = pytest.mark.skipif(not kit.LONG, reason="--long")


def stop(case: str, *, used: bool, signum: int, library: bool) -> Outcome:
    env = {"CASE": case, "TIMEOUT": str(TIMEOUT), "LOUD": "1", **({"USE": "1"} if used else {})}
    with kit.running("uvicorn", *UVICORN, env=env, library=library) as server:
        server.wait_for_text(kit.READY, 30)
        if signum == signal.SIGINT:
            server.interrupt()
        else:
            server.signal(signum)
        return server.finish(8)


BASE_RUNS = 3


def complaints(outcome: Outcome) -> Counter[str]:
    """Return what is no tracker's warning, no worker's word of the CTRL-C, and no item counted."""
    known = ("resource_tracker", "items dropped")
    text = [line for line in kit.lines(outcome) if not any(word in line for word in known)]
    if "KeyboardInterrupt" in text:  # Which of them say so, and where they are then, is a race.
        text = [line for line in text if not line.startswith(INTERRUPTED)]
    return Counter(line for line in text if not line.startswith((" ", "INFO")))


@pytest.mark.parametrize(
    ("package", "case"),
    [
        ("billiard", "billiard"),
        pytest.param("multiprocess", "multiprocess", marks=long),
        pytest.param("multiprocess", "multiprocess_queue", marks=long),
        pytest.param("loky", "loky", marks=long),
        ("joblib", "joblib"),
        pytest.param("joblib", "joblib_multiprocessing", marks=long),
        pytest.param("pebble", "pebble", marks=long),
        pytest.param("mpire", "mpire", marks=long),
        pytest.param("aiomultiprocess", "aiomultiprocess", marks=long),
        ("apscheduler", "apscheduler"),
    ],
)
@pytest.mark.parametrize("used", [True, pytest.param(False, marks=long)], ids=["used", "starting"])
@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=long)], ids=lambda s: s.name
)
def test_a_relative_ends_as_well(package: str, case: str, used: bool, signum: int) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    with concurrent.futures.ThreadPoolExecutor() as threads:
        runs = [
            threads.submit(stop, case, used=used, signum=signum, library=library)
            for library in (False, True)
        ]
        without, within = (run.result() for run in runs)
    if not without.hung:
        own = complaints(without)
        for _ in range(BASE_RUNS - 1):  # How often a scheduler has said it until the end is a race.
            if not set(complaints(within)) - set(own):
                break
            own |= complaints(stop(case, used=used, signum=signum, library=False))
        assert not set(complaints(within)) - set(own), within.output
        assert within.status == without.status
    assert "a step of the clean-up failed" not in within.output
    assert not within.hung
    assert within.seconds < TIMEOUT + SLACK
    assert not within.orphans
    if case != "billiard":  # It has a tracker of its own, and leaks where it is alone as well.
        assert not within.leaked, within.output


DILL_QUEUES = r"""
    import signal
    import threading

    import multiprocess

    from asgi_mpclean import clean, register

    def answer(jobs, results, done):
        for job in iter(jobs.get, None):
            results.put(job)
            if job == 20:
                done.send(job)

    if __name__ == "__main__":
        context = multiprocess.get_context(METHOD)
        got = []
        kept = register(context.Queue(), on_item=got.append)
        joinable = register(context.JoinableQueue(), on_item=got.append)
        jobs = register(context.Queue(), on_item=got.append)
        results = register(context.Queue(), on_item=got.append)
        done, says_done = context.Pipe(duplex=False)
        worker = context.Process(target=answer, args=(jobs, results, says_done))
        register(worker, stop=lambda: jobs.put(None)).start()
        for number in range(100):
            kept.put(lambda number=number: number)  # What pickle itself refuses.
            joinable.put(number)
            jobs.put(number)
        done.poll(20)
        report = clean()
        numbers = [item() if callable(item) else item for item in got]
        print(sorted(numbers) == sorted([*range(100)] * 3), report.delivered)
        print([r.outcome for r in report.resources])
        signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="dill 0.4 pickles no function there")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_queues_of_multiprocess_are_drained(method: str) -> None:
    outcome = kit.run(DILL_QUEUES.replace("METHOD", repr(method)))
    assert outcome.output.splitlines() == [
        "True 300",
        "['closed', 'closed', 'closed', 'closed', 'joined']",
    ]
    assert not outcome.hung
    assert not outcome.orphans


DILL_KILLED = r"""
    import os, signal, time
    import multiprocess
    from asgi_mpclean import register

    if __name__ == "__main__":
        pool = register(multiprocess.get_context(METHOD).Pool(2))
        pool.map(abs, range(4))  # One of them waits for a job now, and has the lock for that.
        killed = [*pool._pool]
        for process in killed:
            os.kill(process.pid, signal.SIGKILL)
        while {*pool._pool} & {*killed} or len(pool._pool) < 2:
            time.sleep(0.01)
"""


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="dill 0.4 pickles no function there")
@pytest.mark.parametrize(("method", "library"), [("spawn", True), ("fork", True), ("fork", False)])
def test_a_pool_of_multiprocess_whose_lock_a_dead_worker_has(method: str, library: bool) -> None:
    outcome = kit.run(DILL_KILLED.replace("METHOD", repr(method)), library=library, timeout=8)
    assert outcome.hung is not library
    if library:
        assert (outcome.status, outcome.orphans) == (0, ()), outcome.output


DILL_ALONE = r"""
    import multiprocess.managers, multiprocess.pool, multiprocess.shared_memory
    import multiprocessing, sys
    from asgi_mpclean import clean, register

    if __name__ == "__main__":
        for name in ("managers", "pool", "shared_memory"):
            assert f"multiprocessing.{name}" not in sys.modules
        pool = register(multiprocess.get_context("spawn").Pool(1))
        print(pool.map(abs, [-1]))
        block = multiprocess.shared_memory.SharedMemory(create=True, size=10)
        for discover in (False, True):
            print([r.outcome for r in clean(discover=discover).resources])
        block.close()
        block.unlink()
"""


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="dill 0.4 pickles no function there")
def test_where_only_the_modules_of_multiprocess_are_loaded() -> None:
    outcome = kit.run(DILL_ALONE)
    assert outcome.output.splitlines() == ["[1]", "['closed']", "[]"]


DILL_LEFT = r"""
    import signal
    import multiprocess
    from asgi_mpclean import register

    if __name__ == "__main__":
        left = multiprocess.Queue()
        register(multiprocess.Queue())
        for number in range(7):
            left.put(number)
        signal.raise_signal(signal.SIGTERM)
"""


def test_what_an_unregistered_queue_of_multiprocess_had_is_told() -> None:
    outcome = kit.run(DILL_LEFT)
    assert outcome.status == -signal.SIGTERM
    assert "Queue __main__.left: 7 items dropped" in outcome.output
