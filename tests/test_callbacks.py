"""Callbacks where no thread can be started, as when the interpreter ends, and other dead ends."""

from __future__ import annotations

import _thread
import functools
import multiprocessing
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from feeders import Cleanings, SlowToUnpickle, filled

from asgi_mpclean import CleanupReport, Registry
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._cpython.main_thread import in_main_thread
from asgi_mpclean._items import calls, runner
from asgi_mpclean._items.calls import Call
from asgi_mpclean._items.delivery import Deliveries
from asgi_mpclean._items.runner import Runner
from asgi_mpclean._shutdown.request import Request
from asgi_mpclean._shutdown.signals.fork import FATAL
from asgi_mpclean._shutdown.signals.watch import Watch
from asgi_mpclean._shutdown.triggers import clean_up

if TYPE_CHECKING:
    from pathlib import Path

SPAWN: Any = multiprocessing.get_context("spawn")


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be at the end of the interpreter."""

    def fail(*_args: object) -> int:
        msg = "can't create new thread at interpreter shutdown"
        raise RuntimeError(msg)

    monkeypatch.setattr(_thread, "start_new_thread", fail)


@pytest.mark.usefixtures("no_threads")
@pytest.mark.parametrize("where", ["the main thread", "another thread"])
def test_without_threads_items_are_delivered_all_the_same(where: str) -> None:
    registry, got = Registry(), list[int]()
    filled(registry, got.append, 3)
    if where == "the main thread":
        registry.clean()
    else:  # Started as `threading` does it, which is not what the fixture forbids.
        cleaner = threading.Thread(target=registry.clean)
        cleaner.start()
        cleaner.join(20)
        registry.clean()  # Only the main thread can put the signals' handlers back.
    assert got == [0, 1, 2]


@pytest.mark.usefixtures("no_threads")
def test_a_child_that_a_callback_forks_has_no_handler_of_ours() -> None:
    """In the main thread a callback runs with signals held back, and with an alarm."""
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    found = [signal.getsignal(signum) for signum in watched]
    statuses = []

    def fork(_item: int) -> None:
        during = [signal.getsignal(signum) for signum in watched]
        assert during[0] != found[0]
        assert during[3] != found[3]
        pid = os.fork()
        if pid == 0:
            os._exit([signal.getsignal(signum) for signum in watched] != found)
        statuses.append(os.waitpid(pid, 0)[1])

    registry = Registry()
    filled(registry, fork, 1)
    assert registry.clean().resources[0].error is None
    assert statuses == [0]
    assert [signal.getsignal(signum) for signum in watched] == found


def test_what_a_daemon_thread_hands_over_is_done_by_the_main_thread(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """As at the end of the interpreter, where a daemon thread had begun to clean up."""

    monkeypatch.setattr(calls, "is_left_to_main_thread", lambda: not in_main_thread())
    registry, got = Registry(), list[int]()
    filled(registry, got.append)
    no_more_threads = threading.Event()

    def clean() -> None:
        no_more_threads.wait(10)
        registry.clean(timeout=10)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    request.getfixturevalue("no_threads")
    no_more_threads.set()
    assert eventually(lambda: bool(calls._calling.handed_over), 10)
    Registry().clean(timeout=10)
    cleaner.join(10)
    registry.clean()
    assert got == [0]


@pytest.mark.usefixtures("no_threads")
def test_without_threads_many_queues_are_closed_all_the_same() -> None:
    registry = Registry()
    queues = [filled(registry, lambda _: None, 3) for _ in range(40)]
    assert registry.clean().delivered == 120
    assert all(queue._reader.closed for queue in queues)


@pytest.mark.usefixtures("no_threads")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm clock")
@pytest.mark.parametrize("what", ["on_item", "unpickling"])
def test_without_threads_what_blocks_is_interrupted_at_the_deadline(what: str) -> None:
    previous = signal.getsignal(signal.SIGALRM)
    registry = Registry()
    if what == "on_item":
        filled(registry, lambda _: time.sleep(60), 3)
    else:
        queue = filled(registry, print, count=0)
        for _ in range(3):
            queue.put(SlowToUnpickle())
    report = registry.clean(timeout=0.5)
    assert (report.delivered, report.dropped) == (0, 3)
    assert report.seconds < 1.5
    assert signal.getsignal(signal.SIGALRM) == previous


@pytest.mark.usefixtures("no_threads")
def test_without_threads_workers_end_before_an_on_item_can_block() -> None:
    registry = Registry()
    blocked = filled(registry, lambda _: threading.Event().wait(60))
    got = list[int]()
    filled(registry, got.append, 3)
    asked, ask = SPAWN.Pipe(duplex=False)
    worker = registry.register(
        SPAWN.Process(target=asked.recv), stop=functools.partial(ask.send, None)
    )
    worker.start()
    report = registry.clean(timeout=3)
    assert (got, worker.exitcode) == ([0, 1, 2], 0)
    assert (report.delivered, report.dropped, report.joined) == (3, 1, 1)
    assert report.seconds < 4
    for end in (asked, ask):
        end.close()
    del blocked


def test_many_stuck_callbacks_do_not_hold_up_the_rest() -> None:
    free, got = threading.Event(), list[int]()
    registry = Registry()
    for _ in range(3):
        filled(registry, lambda _: free.wait(30), 3)
    filled(registry, got.append, 3)
    report = registry.clean(timeout=3)
    free.set()
    assert got == [0, 1, 2]
    assert (report.delivered, report.dropped) == (3, 9)


def test_one_thread_is_enough_to_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "PATIENCE_SECONDS", 0.5)
    free, threads = threading.Event(), set[int]()

    def note() -> None:
        threads.add(threading.get_ident())

    def wait() -> None:
        note()
        free.wait(20)

    making = Runner(time.monotonic() + 20)
    deliveries = Deliveries(making)
    deliveries.hold()
    for deliver in (wait, note, free.set):
        deliveries.add(deliver)
    deliveries.release()
    assert making.wait(making.deadline)
    making.abandon()
    assert len(threads) == 2


def test_what_another_thread_was_quicker_with_is_called_once() -> None:
    made: list[int] = []
    call = Call([lambda: made.append(1)], "it", deferrable=False)
    call.run()
    call.run_next()
    assert made == [1]
    assert call.wait(0)


def test_an_on_report_that_blocks_or_raises_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    free = threading.Event()
    making = Runner(time.monotonic() + 0.3)
    started = time.monotonic()
    making.submit([lambda: 1 / 0], "on_report")
    making.submit([lambda: free.wait(30)], "another")
    assert not making.wait(making.deadline)
    assert time.monotonic() - started < 1
    free.set()
    making.abandon()
    assert "on_report raised" in caplog.text


# Handlers over a server's -----------------------------------------------------------------------


class Server:
    """What a signal handler sees of uvicorn's."""

    def __init__(self) -> None:
        self.should_exit = False
        self.force_exit = False
        self.started = True
        self.came: list[int] = []

    def handle_exit(self, signum: int, _frame: object) -> None:
        self.came.append(signum)
        if self.should_exit and signum == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


class OldServer(Server):
    """Leaves without a word to the lifespan, as its _serve does not ask whether it has started."""

    def _serve(self) -> bool:
        return self.should_exit


def plain(_signum: int, _frame: object) -> None:
    """Be a handler that is no server's method."""


@pytest.mark.parametrize(
    ("server", "started", "signals", "pause", "cleaned"),
    [
        (Server, True, ["SIGINT"], 0.0, 0),
        (Server, True, ["SIGINT", "SIGINT"], 0.0, 1),
        (Server, True, ["SIGTERM", "SIGTERM"], 0.3, 0),
        (Server, True, ["SIGTERM", "SIGINT"], 0.0, 1),
        (Server, False, ["SIGTERM"], 0.0, 0),
        (OldServer, False, ["SIGTERM"], 0.0, 1),
        (OldServer, True, ["SIGTERM"], 0.0, 0),
        (None, True, ["SIGINT"], 0.0, 0),
        (None, True, ["SIGINT", "SIGINT"], 0.0, 0),
        (None, True, ["SIGINT", "SIGINT"], 0.3, 1),
        (None, True, ["SIGINT", "SIGTERM"], 0.3, 0),
    ],
)
def test_which_signals_force(
    server: type[Server] | None,
    started: bool,
    signals: list[str],
    pause: float,
    cleaned: int,
) -> None:
    instance = server() if server else None
    handler: Any = instance.handle_exit if instance else plain
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    cleanings = Cleanings()
    watch = Watch(cleanings)
    try:
        for number in previous:
            signal.signal(number, handler)
        watch.chain(previous)
        watch.started = True
        if instance:
            instance.started = started
        for name in signals:
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(pause)  # The time between two signals is what is tested.
        assert len(cleanings) == cleaned
        assert watch.seen
        assert watch.server_is_stopping() == (instance is not None)
        watch.stop()
        assert all(signal.getsignal(number) == handler for number in previous)
    finally:
        for number, found in previous.items():
            signal.signal(number, found)


def test_a_handler_that_somebody_keeps_after_the_end_does_nothing_of_its_own() -> None:
    previous = signal.signal(signal.SIGTERM, plain)
    cleanings = Cleanings()
    watch = Watch(cleanings)
    try:
        watch.chain([signal.SIGTERM])
        ours: Any = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, functools.partial(ours))
        over = signal.getsignal(signal.SIGTERM)
        watch.stop()
        assert signal.getsignal(signal.SIGTERM) is over
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        assert cleanings == []
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_outside_the_main_thread_nothing_is_installed() -> None:
    found = signal.getsignal(signal.SIGTERM)
    results: list[object] = []

    def try_it() -> None:
        watch = Watch(Cleanings())
        watch.chain([signal.SIGTERM])
        watch.guard(FATAL)
        results.append(watch.active)
        watch.stop()

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    assert results == [False]
    assert signal.getsignal(signal.SIGTERM) == found


def test_a_ctrl_c_in_the_middle_comes_after_the_report() -> None:
    registry, reports = Registry(), list[CleanupReport]()
    queue = registry.register(SPAWN.Queue(), on_item=lambda _: os.kill(os.getpid(), signal.SIGINT))
    queue.put(1)
    with pytest.raises(KeyboardInterrupt):
        clean_up(Request("lifespan", 5.0, (registry,), on_report=reports.append))
    assert [report.delivered for report in reports] == [1]


def test_a_signal_whose_handler_cleans_up_as_well_is_not_waited_for() -> None:
    """It came while another thread was at it: this thread waits already."""
    registry, free = Registry(), threading.Event()
    busy = threading.Event()

    def on_item(_item: object) -> None:
        busy.set()
        free.wait(20)

    registry.register(SPAWN.Queue(), on_item=on_item).put(1)
    other = threading.Thread(target=registry.clean, kwargs={"timeout": 20})
    other.start()
    assert busy.wait(20)
    nested = list[float]()

    def handler(_signum: int, _frame: object) -> None:
        nested.append(registry.clean(timeout=3).seconds)
        free.set()

    found = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    registry.clean(timeout=20)
    signal.signal(signal.SIGUSR1, found)
    for thread in (timer, other):
        thread.join(20)
    assert nested == [0.0]


@pytest.mark.parametrize("ending", ["returns", "raises SystemExit"])
def test_a_child_that_an_on_item_forks_ends_with_it(ending: str, tmp_path: Path) -> None:
    received, children = tmp_path / "received", list[int]()

    def on_item(item: int) -> None:
        with received.open("a") as file:
            file.write(f"{item} ")
        if item == 0:
            children.append(os.fork())
            if not children[-1] and ending == "raises SystemExit":
                raise SystemExit

    registry = Registry()
    filled(registry, on_item, 3)
    assert registry.clean().delivered == 3
    until, waited = time.monotonic() + 10, (0, 0)
    while waited == (0, 0) and time.monotonic() < until:
        waited = os.waitpid(children[0], os.WNOHANG)
        time.sleep(0.001)
    if waited == (0, 0):
        os.kill(children[0], signal.SIGKILL)
    assert waited == (children[0], 0)
    assert received.read_text() == "0 1 2 "
