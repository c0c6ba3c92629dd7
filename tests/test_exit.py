"""The plain end of a script that has an executor: Python itself would wait for all of its jobs."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from typing import Any

import pytest
import workers
from script import DELIVERED, WAIT, Script

from asgi_mpclean import Registry
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._cpython.exit import before_threads_are_joined
from asgi_mpclean._cpython.features import AVAILABLE, Feature

# One job in hand, and more than could be done in the time of a test. Its end is told by the report.
EXECUTOR = """
import concurrent.futures, tempfile
logging.disable()
def tell(report):
    for e in report.resources:
        say(e.kind, e.outcome, "some cancelled" if e.cancelled > 40 else e.cancelled)
from asgi_mpclean._shutdown.state import Policy, set_policy
from asgi_mpclean._shutdown import triggers  # As an app loads it.
set_policy(
    Policy(timeout={timeout}, discover_at_exit={discover}, on_report=tell)
)
executor = concurrent.futures.ProcessPoolExecutor(1, mp_context=ctx)
folder = tempfile.mkdtemp()
jobs = [
    executor.submit(workers.begin_and_sleep, folder + "/" + str(number), {seconds})
    for number in range(50)
]
while not os.path.exists(folder + "/0"): time.sleep(0.01)
"""
REGISTER = "asgi_mpclean.register(executor)\n"
QUEUE = "queue = mail()\n"
# It has a thread that Python waits for, and that uses a queue once the executor has ended.
THREAD = """
def put_late():
    while not jobs[-1].cancelled(): time.sleep(0.01)
    queue.put("late")
    time.sleep(0.5)
threading.Thread(target=put_late).start()
"""
ENDED, FORCED = (f"ProcessPoolExecutor {how} some cancelled" for how in ("closed", "terminated"))


@pytest.mark.parametrize(
    ("body", "seconds", "discover", "expected"),
    [
        (REGISTER, 0.5, False, [ENDED]),
        (REGISTER, 600, False, [FORCED]),
        ("", 0.5, True, [ENDED]),
        (REGISTER + QUEUE, 0.5, False, [ENDED, *DELIVERED, "Queue closed 0"]),
        (
            REGISTER + QUEUE + THREAD,
            0.5,
            False,
            [ENDED, *DELIVERED, "item late", "Queue closed 0"],
        ),
    ],
    ids=["registered", "a long job", "discovered", "a queue as well", "and a thread"],
)
@pytest.mark.sampled(2)
def test_the_jobs_of_an_executor_do_not_hold_up_the_exit(
    body: str, seconds: float, discover: bool, expected: list[str]
) -> None:
    options = {"timeout": 4, "discover": discover, "seconds": seconds}
    began = time.monotonic()
    status, lines = Script(EXECUTOR.format(**options) + body).end(50)
    assert (status, lines) == (0, expected)
    assert time.monotonic() - began < 25  # All the jobs would take longer.


def test_who_gave_a_job_is_told_that_it_died_with_its_worker() -> None:
    body = f"""
def tell(report):
    say(sum(job.cancelled() for job in jobs), report.cancelled)
from asgi_mpclean._shutdown.state import Policy, set_policy
set_policy(Policy(timeout=4, discover_at_exit=True, on_report=tell))
import concurrent.futures, tempfile
logging.disable()
executor = asgi_mpclean.register(
    concurrent.futures.ProcessPoolExecutor(2, ctx, asgi_mpclean.worker_init)
)
folder = tempfile.mkdtemp()
jobs = [executor.submit(workers.begin_and_end_slowly, f"{{folder}}/{{n}}", 600) for n in range(20)]
while len(os.listdir(folder)) < 2: time.sleep(0.01)
{WAIT}
"""
    script = Script(body).ready()
    os.killpg(script.process.pid, signal.SIGTERM)
    assert script.end() == (-signal.SIGTERM, ["20 20"])


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_an_executor_that_begins_during_the_clean_up_is_found_before_its_worker(
    seconds: float,
) -> None:
    """Else the worker's end would break it, and a scheduler would start another executor.

    Its worker is there before its thread, by which it is found: so many seconds here.
    """
    body = f"""
def tell(report):
    say([(resource.kind, resource.outcome) for resource in report.resources])
from asgi_mpclean._shutdown.state import Policy, set_policy
set_policy(Policy(timeout=4, discover_at_exit=True, on_report=tell))
import concurrent.futures
logging.disable()
may_end = ctx.Event()
class Executor(concurrent.futures.ProcessPoolExecutor):
    def _start_executor_manager_thread(self):
        may_end.set()
        time.sleep({seconds})
        super()._start_executor_manager_thread()
executor = Executor(1, ctx, asgi_mpclean.worker_init)
def stop():
    job = executor.submit(time.sleep, 0.1)
    job.add_done_callback(lambda job: say(job.cancelled() or job.exception()))
asgi_mpclean.register(ctx.Process(target=may_end.wait), stop=stop).start()
{WAIT}
"""
    status, lines = Script(body).ready().send(signal.SIGTERM).end()
    found = "[('SpawnProcess', 'joined'), ('Executor', 'closed')]"
    assert (status, lines) == (-signal.SIGTERM, ["None", found])


@pytest.mark.parametrize("registered", ["ctx.Lock()", "executor"])
def test_a_package_that_gave_the_jobs_hears_of_no_cancelled_one(registered: str) -> None:
    """A scheduler would print each of them, as nobody cancels them without the library."""
    body = f"""
from asgi_mpclean._shutdown.state import Policy, set_policy
set_policy(Policy(timeout=4, discover_at_exit=True))
import concurrent.futures
logging.disable()
cancelled = set()
def told(where):
    scope = dict(cancelled=cancelled, where=where)
    source = "def tell(job): job.cancelled() and cancelled.add(where)"
    exec(compile(source, where + "/scheduler.py", "exec"), scope)
    return scope["tell"]
executor = concurrent.futures.ProcessPoolExecutor(1, ctx)
asgi_mpclean.register({registered})
tells = [told("/app"), told("/lib/site-packages")]
for tell in tells * 10:
    executor.submit(time.sleep, 0.05).add_done_callback(tell)
atexit.register(lambda: say(sorted(cancelled)))
"""
    expected = ["/app", "/lib/site-packages"] if registered == "executor" else ["/app"]
    assert Script(body).end() == (0, [str(expected)])


def test_an_executor_that_is_not_registered_is_left_to_python() -> None:
    options = {"timeout": 4, "discover": False, "seconds": 0.01}
    body = EXECUTOR.format(**options) + 'atexit.register(lambda: say(jobs[-1].done(), "done"))\n'
    assert Script(body).end() == (0, ["True done"])


def test_without_the_feature_nothing_is_done_before_python_waits() -> None:
    registered: list[Any] = threading._threading_atexits  # type: ignore[attr-defined]
    before = list(registered)
    AVAILABLE.discard(Feature.JOINING)
    try:
        before_threads_are_joined(lambda: None)
    finally:
        AVAILABLE.add(Feature.JOINING)
    assert registered == before
    before_threads_are_joined(lambda: None)
    assert len(registered) == len(before) + 1
    del registered[-1]


@pytest.mark.parametrize("feature", [None, Feature.EXECUTORS], ids=str)
def test_without_threads_an_executor_is_shut_down_all_the_same(
    feature: Feature | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    registry, spawn = Registry(), multiprocessing.get_context("spawn")
    executor = registry.register(concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn))
    jobs = [executor.submit(workers.begin_and_sleep, str(tmp_path / "job"), 0.2) for _ in range(20)]
    while not (tmp_path / "job").exists():
        time.sleep(0.01)
    monkeypatch.setattr("asgi_mpclean._items.runner._Threads.start", lambda _self: False)
    if feature is not None:
        AVAILABLE.discard(feature)
    try:
        registry.clean(4)
    finally:
        if feature is not None:
            AVAILABLE.add(feature)
    # To `wait` for them would be in vain: it does not see what a shutdown has cancelled.
    for job in jobs:
        with contextlib.suppress(concurrent.futures.CancelledError):
            job.result(20)
    assert not jobs[0].cancelled()
    assert eventually(lambda: not multiprocessing.active_children(), 20)
    assert jobs[-1].cancelled()
