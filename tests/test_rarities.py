"""Branches that a real server takes once in a blue moon, each forced once."""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import os
import pickle
import signal
import textwrap
import threading
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import workers
from feeders import Cleanings, filled
from script import DELIVERED, WAIT, Script

from asgi_mpclean import Registry
from asgi_mpclean._asgi.options import Options
from asgi_mpclean._asgi.session import Session
from asgi_mpclean._asgi.watchdog import Watchdog
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._cpython.semaphores import Snapshot, semaphore_names_of, unlink_semaphores
from asgi_mpclean._cpython.waiting import Waiting, waiting_for_end
from asgi_mpclean._exec.restart import _stop
from asgi_mpclean._resources.base import _cleaned, was_cleaned
from asgi_mpclean._resources.worker import TERMINATE_AT
from asgi_mpclean._shutdown import triggers
from asgi_mpclean._shutdown.closers import Closers
from asgi_mpclean._shutdown.request import Request
from asgi_mpclean._shutdown.signals.watch import Watch
from asgi_mpclean._shutdown.state import STATE, Policy
from asgi_mpclean._shutdown.triggers import _at_exit, clean_up, keep_until_exit
from asgi_mpclean._shutdown.workers import WorkersEnd
from asgi_mpclean._worker import parent
from asgi_mpclean._worker import signals as worker_signals
from asgi_mpclean._worker.forked import is_forked_worker
from asgi_mpclean._worker.parent import _wait_for_parent
from asgi_mpclean._worker.signals import TerminatedError, _SendAgain, give_handlers_back

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SPAWN: Any = multiprocessing.get_context("spawn")
FORK: Any = multiprocessing.get_context("fork")


# Threads and turns ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["the main thread", "another thread"])
def test_a_turn_that_does_not_come_in_time_is_given_up(where: str) -> None:
    registry, other = Registry(), Registry()
    busy, free = threading.Event(), threading.Event()

    def on_item(_item: int) -> None:
        busy.set()
        free.wait(20)

    filled(registry, on_item)
    queue = filled(other, print)
    cleaner = threading.Thread(target=registry.clean, kwargs={"timeout": 20})
    cleaner.start()
    assert busy.wait(10)
    if where == "the main thread":
        report = other.clean(timeout=0.2)
    else:
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            report = threads.submit(other.clean, timeout=0.2).result(20)
    free.set()
    cleaner.join(20)
    assert (report.resources, queue in other) == ([], True)
    assert 0.2 <= report.seconds < 2
    other.register(queue, on_item=lambda _: None)
    assert other.clean().delivered == 1
    registry.clean()


def test_what_was_cleaned_and_is_gone_is_forgotten() -> None:
    gc.collect()
    registry, before = Registry(), len(_cleaned)
    for _ in range(3):
        registry.register(SPAWN.SimpleQueue())
        registry.clean()
    gc.collect()
    kept = registry.register(SPAWN.SimpleQueue())
    registry.clean()
    assert was_cleaned(kept)
    assert len(_cleaned) == before + 1


# Signals ----------------------------------------------------------------------------------------


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """Have a server's handler for SIGTERM; yields what it was called with."""
    came: list[int] = []
    found = signal.signal(signal.SIGTERM, lambda signum, _frame: came.append(signum))
    yield came
    signal.signal(signal.SIGTERM, found)


def test_a_chained_signal_in_the_middle_of_a_clean_up_comes_after_it(handled: list[int]) -> None:
    cleanings = Cleanings()
    watch = Watch(cleanings)
    watch.chain([signal.SIGTERM])
    registry, during = Registry(), list[int]()

    def on_item(_item: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        during.extend(handled)

    filled(registry, on_item)
    registry.clean()
    watch.stop()
    assert (during, handled, watch.seen) == ([], [signal.SIGTERM], True)


def test_of_two_signals_the_second_comes_though_the_first_raises(handled: list[int]) -> None:
    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def on_item(_item: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    found = signal.signal(signal.SIGINT, interrupt)
    registry = Registry()
    filled(registry, on_item)
    try:
        with pytest.raises(KeyboardInterrupt):
            registry.clean()
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGINT, found)
    assert handled == [signal.SIGTERM]


NO_THREADS = """
    def fail(*arguments): raise RuntimeError
    import _thread; _thread.start_new_thread = fail
"""


@pytest.mark.parametrize("threads", ["", NO_THREADS], ids=["", "no threads"])
def test_what_is_being_made_for_ever_does_not_keep_a_signal_from_killing(threads: str) -> None:
    body = f"""
    from asgi_mpclean._shutdown.signals import handler
    handler.is_making_something = lambda: True
    handler.PAUSES = 3
    mail()
    {threads}
    """
    script = Script(textwrap.dedent(body) + WAIT).ready().send(signal.SIGTERM)
    assert script.end() == (-signal.SIGTERM, DELIVERED)


def test_a_sentinel_that_its_feeder_has_not_sent_is_no_item() -> None:
    """Who would have sent it cannot, for a lock that a dead process holds."""
    registry, got = Registry(), list[object]()
    queue = registry.register(SPAWN.Queue(), on_item=got.append)
    queue._wlock.acquire()
    queue.put(1)
    ready = registry.register(SPAWN.Event())
    worker = SPAWN.Process(target=workers.sleep, args=(ready,))
    registry.register(worker, stop=lambda: queue.put(None)).start()
    assert ready.wait(20)
    report = registry.clean(timeout=3)
    assert (got, report.dropped) == ([1], 0)


# Servers ----------------------------------------------------------------------------------------


def test_where_processes_cannot_be_looked_at_no_server_is_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_args: object, **_options: object) -> str:
        raise OSError

    monkeypatch.setattr(Path, "read_text", fail)
    assert not is_forked_worker()


def test_a_server_without_listeners_is_told_at_once() -> None:
    server = types.SimpleNamespace(should_exit=False)
    _stop(server)
    assert server.should_exit


def test_a_wait_without_end_is_helped_again_and_again_but_none_that_was_there_before() -> None:
    told = [SPAWN.Event(), SPAWN.Event()]
    processes = [SPAWN.Process(target=workers.wait_for, args=(event,)) for event in told]
    for process in processes:
        process.start()
    threads = [threading.Thread(target=process.join) for process in processes]
    helped: list[object] = []

    def help_on(waits: list[Waiting], seconds: float) -> None:
        assert seconds == pytest.approx(0.2 * (1 - TERMINATE_AT))
        helped.extend(waiting.awaited for waiting in waits)

    threads[0].start()
    assert eventually(lambda: bool(waiting_for_end(0)), 10)
    watchdog = Watchdog(0.2, help_on)
    threads[1].start()
    assert eventually(lambda: len(helped) >= 2, 10)
    watchdog.stop()
    assert set(helped) == {processes[1]}
    for event, thread in zip(told, threads, strict=True):
        event.set()
        thread.join(10)


def test_who_insists_hurries_the_clean_up_of_another_thread() -> None:
    registry = Registry()
    ready = registry.register(SPAWN.Event())
    worker = registry.register(SPAWN.Process(target=workers.ignore_sigterm, args=(ready,)))
    worker.start()
    assert ready.wait(20)
    cleaner = threading.Thread(target=registry.clean, kwargs={"timeout": 30})
    cleaner.start()
    assert eventually(lambda: STATE.running is not None, 10)
    began = time.monotonic()
    clean_up(Request("SIGINT", 30, (Registry(),), insists=True))
    cleaner.join(30)
    registry.clean()
    assert worker.exitcode == -signal.SIGKILL
    assert time.monotonic() - began < 5  # Of 30 s, it would have had 85 %.


def test_a_server_that_ends_without_a_word_keeps_what_nobody_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = SPAWN.Queue()
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    monkeypatch.setattr(STATE, "kept", [])
    keep_until_exit()
    assert queue in STATE.kept
    queue.close()
    unlink_semaphores(Snapshot().claim(semaphore_names_of(queue)))


def test_a_daemon_thread_leaves_the_exit_functions_to_the_main_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, got = Registry(), list[int]()
    filled(registry, got.append)
    monkeypatch.setattr(triggers, "is_left_to_main_thread", lambda: True)
    monkeypatch.setattr(triggers, "REPORTING_SECONDS", 0.0)
    monkeypatch.setattr(STATE, "policy", Policy(timeout=0.1))
    began = time.monotonic()
    _at_exit()
    assert (got, time.monotonic() - began >= 0.1) == ([], True)
    monkeypatch.undo()
    assert registry.clean().delivered == 1


@pytest.mark.parametrize("discover", [True, False])
def test_a_lifespan_that_is_told_of_its_end_twice_is_watched_once(discover: bool) -> None:
    options = Options(Registry(), 5.0, (), discover, None)
    session = Session(options)

    def watchdogs() -> int:
        return sum(each.name == "asgi_mpclean-watchdog" for each in threading.enumerate())

    assert eventually(lambda: not watchdogs(), 10)  # Those of tests before this one.
    for _ in range(2):
        session.is_stopping()
    assert watchdogs() == 1
    anyio.run(session.end)
    assert eventually(lambda: not watchdogs(), 10)


def test_who_insists_when_time_is_nearly_over_takes_none_of_it() -> None:
    request = Request("test", 1.0).begun()
    workers_end = WorkersEnd(Closers(request), request.timeout, discover=False)
    before = workers_end._time
    workers_end.hurry()
    assert workers_end._time == before


# Workers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipe_ready", [True, False], ids=["its pipe", "its number"])
def test_a_worker_whose_parent_is_gone_ends_itself(
    pipe_ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, signum: killed.append(signum))
    monkeypatch.setattr(parent, "GRACE_SECONDS", 0)
    reader, writer = SPAWN.Pipe(duplex=False)
    with reader, writer:
        if pipe_ready:
            writer.send(None)
        _wait_for_parent(reader, None if pipe_ready else -1)
    assert killed == [signal.SIGTERM, signal.SIGKILL]


def test_who_has_no_parent_waits_for_none() -> None:
    body = """
    asgi_mpclean.worker_init()
    say([thread.name for thread in threading.enumerate()])
    """
    assert Script(body).end() == (0, ["['MainThread']"])


def test_the_end_of_a_worker_is_sent_to_nobody() -> None:
    """A worker of an executor would take it for the outcome of a job, and live on."""
    ended = TerminatedError()
    with pytest.raises(TerminatedError):
        pickle.dumps(ended)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        assert threads.submit(pickle.dumps, ended).result(20)


def test_what_else_is_raised_in_a_destructor_is_printed_as_ever() -> None:
    printed: list[Any] = []
    send_again = _SendAgain(printed.append)
    lost = types.SimpleNamespace(exc_type=ValueError)
    send_again(lost)
    assert printed == [lost]


def test_a_handler_that_is_not_pythons_is_not_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    found = signal.getsignal(signal.SIGUSR1)
    monkeypatch.setattr(worker_signals._worker, "found", {signal.SIGUSR1: None})
    give_handlers_back()
    assert signal.getsignal(signal.SIGUSR1) == found


# Pools and executors ----------------------------------------------------------------------------


def test_a_registered_pool_is_not_discovered_once_more() -> None:
    registry = Registry()
    pool = registry.register(SPAWN.Pool(1))
    assert pool in registry
    report = registry.clean(discover=True, timeout=10)
    assert [entry.registered for entry in report.resources if entry.kind == "Pool"] == [True]


def report_outcome(manager: Any, outcomes: Any) -> None:
    registry = Registry()
    registry.register(manager)
    outcomes.send(registry.clean().resources[0].outcome)


def test_a_manager_that_was_inherited_is_left_alone() -> None:
    manager = SPAWN.Manager()
    reader, writer = SPAWN.Pipe(duplex=False)
    child = FORK.Process(target=report_outcome, args=(manager, writer))
    child.start()
    assert reader.poll(20)
    assert reader.recv() == "not a child of this process"
    child.join(20)
    assert manager.list([1])[0] == 1
    manager.shutdown()
