"""Pools and executors: registered, discovered, busy, broken, somebody else's."""

from __future__ import annotations

import concurrent.futures
import functools
import importlib
import multiprocessing
import multiprocessing.pool
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import workers

try:
    import multiprocess  # type: ignore[import-untyped]
except ImportError:  # It has nothing for this Python.
    multiprocess = None

import asgi_mpclean
from asgi_mpclean import Registry
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._cpython.executors import let_executor_answer
from asgi_mpclean._cpython.features import AVAILABLE, Feature
from asgi_mpclean._cpython.pools import pool_is_busy
from asgi_mpclean._cpython.queues import feeder_is_idle
from asgi_mpclean._resources import executor as closer
from asgi_mpclean._shutdown.request import Request
from asgi_mpclean._shutdown.triggers import clean_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asgi_mpclean import CleanupReport, ResourceReport

SPAWN: Any = multiprocessing.get_context("spawn")

# One that is asked gets 70 % of it: enough for whoever ends, and not too much for who does not.
PATIENT = 20.0
TIMEOUT = 3.0
WORKERS = 2


class Group:
    """A pool or an executor, whose jobs are submitted and asked for in one way."""

    def __init__(
        self, kind: str, context: Any = SPAWN, init: Any = asgi_mpclean.worker_init, **options: Any
    ) -> None:
        self.kind = kind
        if kind == DILL:
            self.kind, context = "Pool", multiprocess.get_context(context.get_start_method())
        if self.kind == "Pool":
            self.resource: Any = context.Pool(WORKERS, initializer=init, **options)
        elif kind == "ThreadPool":
            self.resource = multiprocessing.pool.ThreadPool(WORKERS)
        else:
            self.resource = concurrent.futures.ProcessPoolExecutor(
                WORKERS, mp_context=context, initializer=init, **options
            )

    def submit(self, function: Callable[..., object], *args: object) -> Callable[[float], Any]:
        """Have a job done; what is returned waits for its result, so many seconds."""
        if self.kind == "ProcessPoolExecutor":
            return self.resource.submit(function, *args).result  # type: ignore[no-any-return]
        return self.resource.apply_async(function, args).get  # type: ignore[no-any-return]

    def begun(self, folder: Path, function: Callable[..., object], *args: object) -> list[Any]:
        """Occupy all workers, and wait until they are."""
        paths = [folder / f"begun{number}" for number in range(WORKERS)]
        results = [self.submit(function, str(path), *args) for path in paths]
        assert eventually(lambda: all(path.exists() for path in paths), 30)
        return results


DILL = "Pool of multiprocess"
of_dill = pytest.param(
    DILL,
    marks=pytest.mark.skipif(
        multiprocess is None or sys.version_info >= (3, 15),
        reason="not installed, and dill 0.4 pickles no function on 3.15",
    ),
)
kinds = pytest.mark.parametrize("kind", ["Pool", of_dill, "ThreadPool", "ProcessPoolExecutor"])
with_processes = pytest.mark.parametrize("kind", ["Pool", of_dill, "ProcessPoolExecutor"])


def clean(
    group: Group, how: str, *, timeout: float = PATIENT, stop: Callable[[], object] | None = None
) -> ResourceReport:
    """Clean up a group that was registered, or one that is found."""
    registry = Registry()
    if how == "registered":
        registry.register(group.resource, name="group", stop=stop)
    report = registry.clean(timeout, discover=how == "discovered")
    assert not report.deadline_passed
    assert not multiprocessing.active_children()
    (entry,) = (entry for entry in report.resources if entry.kind == group.kind)
    assert entry.registered == (how == "registered")
    return entry


def is_cancelled(result: Callable[[float], Any]) -> bool:
    """Tell whether a job has been cancelled rather than done."""
    try:
        result(1)
    except concurrent.futures.CancelledError:
        return True
    return False


@pytest.mark.parametrize("how", ["registered", "discovered"])
@kinds
def test_an_idle_one_is_closed(kind: str, how: str, method: str) -> None:
    group = Group(kind, multiprocessing.get_context(method))
    assert group.submit(abs, -1)(30) == 1
    report = clean(group, how)
    assert (report.outcome, report.cancelled) == ("closed", 0)
    assert report.seconds < 0.5 * PATIENT  # Nobody had to be forced.
    if kind == "Pool":  # Some of an executor's go with its own thread.
        assert report.semaphores == (0 if method == "fork" else 6)


@pytest.mark.parametrize("kind", [of_dill])
def test_a_sentinel_that_is_pickled_by_another_protocol_is_one(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickler = importlib.import_module("multiprocess.queues")._ForkingPickler
    dumps = pickler.dumps  # On PyPy its protocol is not that of multiprocessing.
    monkeypatch.setattr(pickler, "dumps", lambda thing: dumps(thing, 2))
    group = Group(kind)
    assert group.submit(abs, -1)(30) == 1
    assert clean(group, "registered", timeout=TIMEOUT).outcome == "closed"


@pytest.mark.parametrize("how", ["registered", "discovered"])
def test_an_idle_executor_does_not_hold_up_the_exit(how: str) -> None:
    group, registry = Group("ProcessPoolExecutor"), Registry()
    assert group.submit(abs, -1)(30) == 1
    if how == "registered":
        registry.register(group.resource)
    discover = how == "discovered"
    request = Request("test", PATIENT, (registry,), discover=discover, going_away=True)
    report = clean_up(request)
    assert [entry.outcome for entry in report.resources if entry.kind == group.kind] == ["closed"]
    assert report.seconds < 0.5 * PATIENT  # Its workers were told at once.
    assert not multiprocessing.active_children()
    group.resource.shutdown(wait=True)


def test_a_result_that_comes_at_the_last_moment_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is not cancelled, which would end the executor's thread with a traceback."""
    group, registry, go = Group("ProcessPoolExecutor"), Registry(), threading.Event()
    registry.register(group.resource)
    in_hand = group.begun(tmp_path, workers.begin_and_sleep, 0)
    thread = group.resource._executor_manager_thread
    pass_on = thread.process_result_item
    monkeypatch.setattr(thread, "process_result_item", lambda item: (go.wait(30), pass_on(item)))
    last = group.submit(workers.begin_and_sleep, str(tmp_path / "last"), 0)
    assert eventually((tmp_path / "last").exists, 30)

    def let_answer(executor: Any, seconds: float) -> None:
        go.set()
        let_executor_answer(executor, seconds)

    monkeypatch.setattr(closer, "let_executor_answer", let_answer)
    report = clean_up(Request("test", 1.0, (registry,), going_away=True))
    go.set()
    assert [result(30) for result in (*in_hand, last)] == [None] * (WORKERS + 1)
    assert report.cancelled == 0
    group.resource.shutdown(wait=True)


@pytest.mark.parametrize("how", ["registered", "discovered"])
@kinds
def test_jobs_in_hand_are_finished_and_the_others_cancelled(
    kind: str, how: str, tmp_path: Path
) -> None:
    group = Group(kind)
    in_hand = group.begun(tmp_path, workers.begin_and_sleep, 0.5)
    others = [group.submit(abs, -number) for number in range(300)]
    report = clean(group, how)
    assert [result(1) for result in in_hand] == [None] * WORKERS
    cancelled = sum(is_cancelled(result) for result in others)
    assert (report.outcome, report.cancelled) == ("closed", cancelled)
    # An executor hands out one job more than it has workers.
    assert cancelled >= len(others) - (WORKERS + 1 if kind == "ProcessPoolExecutor" else 0)


@with_processes
@pytest.mark.parametrize(
    ("job", "outcome"),
    [(workers.begin_and_sleep, "terminated"), (workers.begin_and_ignore_sigterm, "killed")],
)
@pytest.mark.sampled(2)
def test_a_job_without_an_end_is_forced(
    kind: str, job: Callable[..., object], outcome: str, tmp_path: Path
) -> None:
    group = Group(kind)
    results = group.begun(tmp_path, job, 600)
    assert clean(group, "registered", timeout=TIMEOUT).outcome == outcome
    if kind == "ProcessPoolExecutor":
        for result in results:
            with pytest.raises((concurrent.futures.CancelledError, SystemExit)):
                result(10)


def test_a_thread_without_an_end_is_left_behind(tmp_path: Path) -> None:
    group, event = Group("ThreadPool"), threading.Event()

    def wait(path: str) -> None:
        workers.begin_and_sleep(path, 0)
        event.wait(60)

    group.begun(tmp_path, wait)
    assert clean(group, "registered", timeout=TIMEOUT).seconds < TIMEOUT
    event.set()


@pytest.mark.parametrize("kind", ["Pool", "ThreadPool"])
def test_stop_decides_what_becomes_of_the_jobs(kind: str) -> None:
    group = Group(kind)
    results = [group.submit(abs, -number) for number in range(300)]
    report = clean(group, "registered", stop=group.resource.close)
    assert [result(1) for result in results] == list(range(300))
    assert (report.outcome, report.cancelled) == ("closed", 0)


def test_the_jobs_of_a_map_are_cancelled_one_by_one(tmp_path: Path) -> None:
    group = Group("Pool")
    group.begun(tmp_path, workers.begin_and_sleep, 2)
    result = group.resource.map_async(abs, range(5000), chunksize=1)
    lazy = group.resource.imap(abs, range(10))
    assert clean(group, "registered").cancelled >= 5000
    for wait in (functools.partial(result.get, 1), functools.partial(lazy.next, 1)):
        with pytest.raises(concurrent.futures.CancelledError):
            wait()


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("Pool", "maxtasksperchild"),
        pytest.param(
            "ProcessPoolExecutor",
            "max_tasks_per_child",
            marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="new in Python 3.11"),
        ),
    ],
)
def test_workers_that_are_replaced_all_the_time(kind: str, option: str, tmp_path: Path) -> None:
    group = Group(kind, **{option: 1})
    for _ in range(5):
        assert group.submit(abs, -1)(30) == 1
    group.begun(tmp_path, workers.begin_and_sleep, 0.3)
    for _ in range(50):
        group.submit(abs, -1)
    report = clean(group, "registered")
    assert report.outcome == "closed"
    assert report.cancelled >= 45


@with_processes
def test_jobs_that_fill_the_pipe_do_not_hold_up_the_end(kind: str, tmp_path: Path) -> None:
    group = Group(kind)
    group.begun(tmp_path, workers.begin_and_sleep, 600)
    for _ in range(20):
        group.submit(len, b"x" * 1_000_000)
    calls = getattr(group.resource, "_call_queue", None)
    assert clean(group, "registered", timeout=TIMEOUT).forced
    # Python waits at the exit until its feeder has sent what it has in its hand.
    assert calls is None or feeder_is_idle(calls, 0.0) is not False
    if kind == "ProcessPoolExecutor":
        group.resource.shutdown()  # Its threads have ended, so that this does not hang.


@with_processes
@pytest.mark.parametrize("when", ["idle", "busy"])
def test_killed_workers(kind: str, when: str, tmp_path: Path) -> None:
    # Those that replace them die of SIGTERM wherever they are: a handler in Python, which those of
    # `worker_init` have, is not called for one that comes just before a wait begins.
    group = Group(kind, init=None)
    if when == "busy":
        group.begun(tmp_path, workers.begin_and_sleep, 600)
    else:
        group.submit(abs, -1)(30)
    for process in multiprocessing.active_children():
        process.kill()
    outcome = clean(group, "registered", timeout=2 * TIMEOUT).outcome
    assert outcome in {"closed", "already broken", "terminated"}


class HeldProcess(SPAWN.Process):  # type: ignore[misc]  # Its context is of any type.
    """A worker that a pool starts only when the test says so."""

    started = threading.Event()

    def start(self) -> None:
        self.started.wait(30)
        super().start()


def test_a_worker_that_a_pool_starts_during_the_look_at_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    group = Group("Pool")
    group.submit(abs, -1)(30)  # One of them waits for a job now, and holds the lock of the others.
    monkeypatch.setattr(SPAWN, "Process", HeldProcess)
    for process in multiprocessing.active_children():
        process.kill()
    threads = group.resource._pool, group.resource._worker_handler
    assert eventually(lambda: len(threads[0]) < WORKERS, 30)  # It is about to replace one.

    def is_busy(pool: Any) -> bool:
        HeldProcess.started.set()
        threads[1].join(30)
        return pool_is_busy(pool)

    monkeypatch.setattr("asgi_mpclean._resources.pool.pool_is_busy", is_busy)
    clean(group, "registered", timeout=TIMEOUT)
    # Where it was not found, its semaphores are unlinked while it is starting.
    assert capfd.readouterr().err == ""


def test_a_terminate_that_waits_for_the_lock_of_a_dead_worker_is_freed() -> None:
    group = Group("Pool")
    group.submit(abs, -1)(30)  # One of them waits for a job now, and holds the lock of the others.
    killed = multiprocessing.active_children()
    for process in killed:
        process.kill()
    # Those that take their place wait for the lock, as `terminate` does.
    assert eventually(lambda: len(set(multiprocessing.active_children()) - {*killed}) == 2, 30)
    thread = threading.Thread(target=group.resource.terminate, daemon=True)
    thread.start()
    assert eventually(lambda: not group.resource._terminate.still_active(), 30)
    clean(group, "registered", timeout=TIMEOUT)
    thread.join(30)
    assert not thread.is_alive()


# What was done with already ---------------------------------------------------------------------


def broken_executor() -> Any:
    group = Group("ProcessPoolExecutor")
    with pytest.raises(concurrent.futures.process.BrokenProcessPool):
        group.submit(workers.die)(30)
    return group.resource


def shut_down_executor() -> Any:
    executor = Group("ProcessPoolExecutor").resource
    executor.shutdown()
    return executor


def terminated_pool() -> Any:
    pool = Group("Pool").resource
    pool.terminate()
    pool.join()
    return pool


def unused_executor() -> Any:
    return Group("ProcessPoolExecutor").resource


@pytest.mark.parametrize(
    ("make", "outcome"),
    [
        (broken_executor, "already broken"),
        (shut_down_executor, "already closed"),
        (terminated_pool, "already closed"),
        (unused_executor, "closed"),
    ],
)
def test_bad_input_is_reported_as_what_it_was(make: Callable[[], Any], outcome: str) -> None:
    registry = Registry()
    made = registry.register(make())
    assert made in registry
    report = registry.clean(PATIENT)
    assert [entry.outcome for entry in report.resources] == [outcome]
    assert report.seconds < 0.5 * PATIENT


@with_processes
def test_one_of_another_process_is_left_alone(kind: str) -> None:
    group = Group(kind)
    assert group.submit(abs, -1)(30) == 1
    ours, theirs = multiprocessing.Pipe()
    fork: Any = multiprocessing.get_context("fork")
    child = fork.Process(target=workers.clean_registered, args=(group.resource, theirs))
    child.start()
    assert ours.poll(20)
    assert ours.recv() == ["not a child of this process"]
    child.join(20)
    assert group.submit(abs, -2)(30) == 2
    clean(group, "registered")


# Without private names --------------------------------------------------------------------------


@pytest.fixture(params=[Feature.POOLS, Feature.EXECUTORS, Feature.CHILDREN, Feature.PIPE])
def without(request: pytest.FixtureRequest) -> Iterator[Feature]:
    """Do without a feature."""
    feature: Feature = request.param
    AVAILABLE.discard(feature)
    yield feature
    AVAILABLE.add(feature)


@pytest.mark.usefixtures("without")
@kinds
def test_without_a_feature_it_is_ended_all_the_same(kind: str) -> None:
    group = Group(kind)
    assert group.submit(abs, -1)(30) == 1
    registry = Registry()
    registry.register(group.resource)
    report: CleanupReport = registry.clean(TIMEOUT)
    assert report.seconds < TIMEOUT
    assert eventually(lambda: not multiprocessing.active_children(), 10)


# worker_init ------------------------------------------------------------------------------------


@with_processes
@pytest.mark.parametrize("when", ["idle", "busy"])
@pytest.mark.sampled(3)
def test_sigterm_ends_a_worker_and_runs_its_finalizers(
    kind: str, when: str, tmp_path: Path, method: str
) -> None:
    context: Any = multiprocessing.get_context(method)
    begun, finalized = tmp_path / "begun", tmp_path / "finalized"
    job = (str(begun), 600 if when == "busy" else 0)
    with Registry() as registry:
        if kind == "Pool":
            pool = context.Pool(1, workers.init_and_finalize, (str(finalized),))
            registry.register(pool).apply_async(workers.begin_and_sleep, job)
        else:
            executor = concurrent.futures.ProcessPoolExecutor(
                1, context, workers.init_and_finalize, (str(finalized),)
            )
            registry.register(executor).submit(workers.begin_and_sleep, *job)
        assert eventually(begun.exists, 30)
        worker: Any = multiprocessing.active_children()[0]
        os.kill(worker.pid, signal.SIGTERM)
        assert eventually(finalized.exists, 10)
        # The pool asks the fork server how it ended: if two ask at once, only one is told.
        assert eventually(lambda: worker._popen.returncode is not None, 10)
        assert worker.exitcode == 128 + signal.SIGTERM
