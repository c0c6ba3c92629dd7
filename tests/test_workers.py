"""Workers are asked, waited for while they write, terminated, killed; never waited for forever."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import workers
from desk import Desk
from script import Script

import asgi_mpclean
from asgi_mpclean import Process, Registry
from asgi_mpclean._cpython.starting import allow_starts
from asgi_mpclean._shutdown.request import Request
from asgi_mpclean._shutdown.triggers import clean_up
from asgi_mpclean._worker.cpu import cpu_seconds
from asgi_mpclean._worker.tree import of_fork_server

if TYPE_CHECKING:
    from asgi_mpclean import CleanupReport

SPAWN = multiprocessing.get_context("spawn")


def outcome(report: CleanupReport, name: str) -> str:
    return next(entry.outcome for entry in report.resources if entry.name == name)


def test_jobs_in_equal_results_and_jobs_out(method: str) -> None:
    desk = Desk(method)
    worker = desk.start(workers.echo, lambda: desk.jobs.put(None))
    desk.hand_in(300)
    first = desk.results.get(timeout=30)
    report = desk.registry.clean(timeout=20)
    results, jobs = [first, *desk.results_left], desk.jobs_left
    # What our feeder had in hand may still reach the worker, after we have read what was before it.
    assert sorted(results + jobs) == list(range(300))
    assert (results, jobs) == (sorted(results), sorted(jobs))
    assert (report.delivered, report.dropped) == (299, 0)
    assert outcome(report, worker.name) == "joined"


def test_a_worker_with_nothing_to_do_is_terminated_soon(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    registry = Registry()
    jobs, results = registry.register(context.Queue()), registry.register(context.Queue())
    worker = registry.register(context.Process(target=workers.echo, args=(jobs, results)))
    worker.start()
    jobs.put(1)
    assert results.get(timeout=30) == 1
    report = registry.clean()
    assert outcome(report, worker.name) == "terminated"
    assert (report.forced, worker.exitcode) == (1, -signal.SIGTERM)
    assert report.seconds < 2
    assert not report.deadline_passed


def test_a_worker_that_computes_is_not_taken_for_idle() -> None:
    registry, got = Registry(), list[str]()
    results = registry.register(SPAWN.Queue(), on_item=got.append)
    worker = registry.register(SPAWN.Process(target=workers.compute, args=(results, 1.0)))
    worker.start()
    workers.prefer(worker.pid)
    assert results.get(timeout=30) == "started"
    report = registry.clean(timeout=20)
    assert got == ["done"]
    assert (report.joined, report.forced) == (1, 0)
    assert cpu_seconds(-1) == 0


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists() or not hasattr(os, "SCHED_IDLE"),
    reason="nothing tells how long a process waits, or nothing (in PyPy) makes it wait",
)
def test_a_worker_whose_turn_does_not_come_is_not_taken_for_idle() -> None:
    registry, got = Registry(), list[str]()
    results = registry.register(SPAWN.Queue(), on_item=got.append)
    worker = registry.register(
        SPAWN.Process(target=workers.compute_in_a_crowd, args=(results, 0.005))
    )
    worker.start()
    assert results.get(timeout=30) == "started"
    report = registry.clean(timeout=40)
    assert got == ["done"]
    assert (report.joined, report.forced) == (1, 0)


def test_a_worker_that_ignores_sigterm_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    ready = registry.register(SPAWN.Event())
    worker = registry.register(
        SPAWN.Process(target=workers.ignore_sigterm, args=(ready,), name="stubborn")
    )
    worker.start()
    assert ready.wait(20)
    report = registry.clean(timeout=1)
    assert outcome(report, "stubborn") == "killed"
    assert worker.exitcode == -signal.SIGKILL
    assert report.seconds < 2
    assert "stubborn: killed" in caplog.text


def test_a_stopped_worker_is_killed() -> None:
    registry = Registry()
    ready = registry.register(SPAWN.Event())
    worker = registry.register(SPAWN.Process(target=workers.sleep, args=(ready,)))
    worker.start()
    assert ready.wait(20)
    os.kill(worker.pid or 0, signal.SIGSTOP)
    report = registry.clean(timeout=1)
    assert report.forced == 1
    assert worker.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("sets its event", "joined"),
        ("does nothing", "terminated"),
        ("raises", "terminated"),
        ("blocks", "terminated"),
    ],
)
def test_what_stop_does(stop: str, expected: str, caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    event, free = registry.register(SPAWN.Event()), threading.Event()

    def fail() -> None:
        msg = "no"
        raise OSError(msg)

    stops: dict[str, Any] = {
        "sets its event": event.set,
        "does nothing": lambda: None,
        "raises": fail,
        "blocks": lambda: free.wait(30),
    }
    worker = registry.register(
        SPAWN.Process(target=workers.wait_for, args=(event,), name="waiter"), stop=stops[stop]
    )
    worker.start()
    report = registry.clean(timeout=2)
    free.set()
    assert outcome(report, "waiter") == expected
    assert report.seconds < 3
    assert ("stop of waiter raised" in caplog.text) == (stop == "raises")


def test_a_stop_that_blocks_does_not_hold_up_the_deliveries() -> None:
    registry, free, times = Registry(), threading.Event(), list[float]()
    results = registry.register(SPAWN.Queue(), on_item=lambda _: times.append(time.monotonic()))
    worker = registry.register(
        SPAWN.Process(target=workers.fill_and_sleep, args=(results, 300)),
        stop=lambda: free.wait(30),
    )
    worker.start()
    results.get(timeout=30)
    started = time.monotonic()
    report = registry.clean(timeout=4)
    free.set()
    assert len(times) == report.delivered == 299
    assert times[-1] - started < 2


def test_processes_that_need_no_end() -> None:
    registry = Registry()
    unstarted = registry.register(SPAWN.Process(target=print, name="unstarted"))
    ended = registry.register(SPAWN.Process(target=os.getpid, name="ended"))
    closed = registry.register(SPAWN.Process(target=os.getpid, name="closed"))
    for process in (ended, closed):
        process.start()
        process.join(30)
    closed.close()
    report = registry.clean()
    assert {entry.name: entry.outcome for entry in report.resources} == {
        "unstarted": "not started",
        "ended": "joined",
        "closed": "already closed",
    }
    assert unstarted.pid is None


def test_a_process_that_somebody_else_has_reaped_is_not_waited_for() -> None:
    registry = Registry()
    process = registry.register(SPAWN.Process(target=os.getpid, name="reaped"))
    process.start()
    os.waitpid(process.pid or 0, 0)
    report = registry.clean()
    assert outcome(report, "reaped") == "joined"
    assert report.seconds < 1
    multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform != "linux", reason="the inodes of a process are Linux's")
def test_the_semaphores_of_a_terminated_worker_are_unlinked(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    registry = Registry()
    ours, theirs = context.Pipe()
    worker = registry.register(
        context.Process(target=workers.make_lock_and_sleep, args=(theirs,), name="owner")
    )
    worker.start()
    assert ours.poll(20)
    name = ours.recv().lstrip("/")
    (semaphore,) = Path("/dev/shm").glob(f"*{name}")  # glibc puts "sem." before it, musl nothing.
    report = registry.clean()
    assert [entry.semaphores for entry in report.resources if entry.name == "owner"] == [1]
    assert not semaphore.exists()


# Process and worker_init ------------------------------------------------------------------------


def test_sigterm_runs_finally_and_the_exit_code_is_sigterms(method: str, tmp_path: Path) -> None:
    context: Any = multiprocessing.get_context(method)
    registry = Registry()
    ready = registry.register(context.Event())
    path = tmp_path / "finally"
    worker = registry.Process(target=workers.finally_writes, args=(str(path), ready), ctx=context)
    worker.start()
    assert ready.wait(20)
    report = registry.clean()
    assert path.read_text() == "finally"
    assert worker.exitcode == -signal.SIGTERM
    assert report.forced == 1


def test_ctrl_c_is_ignored_and_not_blocked_in_a_worker(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    registry = Registry()
    results = registry.register(context.Queue())
    worker = registry.Process(target=workers.report_sigint, args=(results,), ctx=context)
    worker.start()
    assert results.get(timeout=30) == (True, False)
    registry.clean()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("whose", ["Python's", "ours"])
def test_ctrl_c_before_the_first_line_of_a_worker_finds_no_gap(whose: str, method: str) -> None:
    """It comes while the child unpickles what it is to run, or right after the fork."""
    body = f"""
    ctx = multiprocessing.get_context({method!r})
    if {method!r} == "fork":
        os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGINT))
    make = ctx.Process if {whose!r} == "Python's" else asgi_mpclean.Process
    options = {{}} if {whose!r} == "Python's" else {{"ctx": ctx}}
    process = make(target=print, args=("ran", workers.InterruptedBirth()), **options)
    process.start(), process.join()
    say(process.exitcode)
    """
    status, lines = Script(body).end()
    assert status == 0
    if whose == "ours":
        assert lines == ["ran born", "0"]
    else:  # So there is a gap to be found.
        assert any("KeyboardInterrupt" in line for line in lines)


def test_worker_init_prepares_a_pools_workers() -> None:
    with SPAWN.Pool(1, initializer=asgi_mpclean.worker_init) as pool:
        assert pool.apply(signal.getsignal, (signal.SIGINT,)) == signal.SIG_IGN
    pool.join()


def test_process_is_a_drop_in(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    process = Process(None, os.getpid, "named", (), {}, daemon=True, ctx=context)
    assert (process.name, process.daemon, process.start_method) == ("named", True, method)
    assert isinstance(process, multiprocessing.Process)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    asgi_mpclean.clean()


def test_a_process_of_the_default_context() -> None:
    process = Process(target=os.getpid)
    assert process.start_method == multiprocessing.get_start_method()
    process.start()
    process.join(30)
    assert process.exitcode == 0
    asgi_mpclean.clean()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"ctx": "spawn"}, TypeError, "ctx must be a multiprocessing context, not 'spawn'"),
        ({"stop": 1}, TypeError, "stop must be callable, not 1"),
    ],
)
def test_bad_options_of_process(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Process(target=print, **options)


@pytest.mark.parametrize("own", [True, False], ids=["its own registry", "the default registry"])
@pytest.mark.parametrize("made", ["before", "during"])
def test_a_process_cannot_be_started_during_a_clean_up(own: bool, made: str) -> None:
    registry = Registry() if own else asgi_mpclean.register.__self__  # type: ignore[attr-defined]
    errors: list[Exception] = []
    processes = [registry.Process(target=print)] if made == "before" else []

    def on_item(_item: object) -> None:
        try:
            process = processes.pop() if processes else registry.Process(target=print)
            process.start()
        except RuntimeError as error:
            errors.append(error)

    queue = registry.register(SPAWN.Queue(), on_item=on_item)
    queue.put(1)
    registry.clean()
    assert [str(error) for error in errors] == [
        "cannot start a process while a clean-up is under way"
    ]


def test_a_process_whose_registry_is_gone_can_be_started() -> None:
    registry = Registry()
    worker = registry.Process(target=print, ctx=SPAWN)
    registry.clean()
    gone = weakref.ref(registry)
    del registry
    gc.collect()
    assert gone() is None
    worker.start()
    worker.join(20)
    assert worker.exitcode == 0


def test_a_process_can_be_started_while_another_registry_is_cleaned() -> None:
    cleaned, other = Registry(), Registry()
    worker = other.Process(target=print, ctx=SPAWN)
    queue = cleaned.register(SPAWN.Queue(), on_item=lambda _: worker.start())
    queue.put(1)
    assert cleaned.clean(timeout=20).resources[0].failed == 0
    worker.join(20)
    assert worker.exitcode == 0
    other.clean()


def test_a_worker_ending_between_two_looks_is_no_error() -> None:
    registry = Registry()
    for _ in range(5):
        process = registry.register(SPAWN.Process(target=os.getpid))
        process.start()
    time.sleep(0.05)
    report = registry.clean(timeout=20)
    assert report.joined + report.forced == 5


@pytest.mark.skipif(sys.platform != "linux", reason="by /proc, which only Linux has")
@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_worker_outlives_its_fork_server(stubborn: bool, registered: bool) -> None:
    """As with SIGTERM to a process group: Python then takes all its workers for dead."""
    context: Any = multiprocessing.get_context("forkserver")
    registry, got = Registry(), list[int]()
    results = registry.register(context.Queue(), on_item=lambda item: got.append(item[0]))
    ready = context.Event()
    target, args = (
        (workers.ignore_sigterm, (ready,)) if stubborn else (workers.fill, (results, 300))
    )
    made = registry.Process(target=target, args=args, ctx=context)
    plain = context.Process(target=target, args=args)
    worker = made if registered else plain
    worker.start()
    assert ready.wait(20) if stubborn else results.get(timeout=20)
    server: Any = multiprocessing.forkserver._forkserver
    os.kill(server._forkserver_pid, signal.SIGTERM)
    assert multiprocessing.connection.wait([worker.sentinel], 20)
    assert of_fork_server(worker.pid)
    report = registry.clean(timeout=2, discover=True)
    assert worker.exitcode == 255
    assert not of_fork_server(worker.pid)
    assert report.forced == stubborn
    assert got == ([] if stubborn else list(range(1, 300)))


# Python itself says nothing of a SystemExit in a thread, unlike pytest.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("daemon", [True, False])
def test_a_thread_starts_no_process_while_this_one_goes_away(daemon: bool) -> None:
    """One that Python waits for ends without a word, another waits until it may after all."""
    registry = Registry()
    clean_up(Request("test", 5.0, (registry,), going_away=True))
    workers_made = [SPAWN.Process(target=print), registry.Process(target=print, ctx=SPAWN)]
    threads = [threading.Thread(target=worker.start, daemon=daemon) for worker in workers_made]
    for thread in threads:
        thread.start()
        thread.join(0.3)
    assert [thread.is_alive() for thread in threads] == [daemon] * 2
    assert [worker.pid for worker in workers_made] == [None] * 2
    allow_starts()
    for thread, worker in zip(threads, workers_made, strict=True):
        thread.join(10)
        assert (worker.pid is not None) is daemon
        if daemon:
            worker.join(20)
