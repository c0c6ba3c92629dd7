"""Queues whose other users have died, have stopped, or go on using them."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.queues
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import workers
from feeders import wait_until_sent, wait_until_taken

from asgi_mpclean import Registry
from asgi_mpclean._cpython.discovery import threads_in_get
from asgi_mpclean._cpython.queues import close_pipe, close_queue
from asgi_mpclean._cpython.semaphores import Snapshot, semaphore_names_of, unlink_semaphores
from asgi_mpclean._resources.drain import STALLED_SECONDS
from asgi_mpclean._resources.last_read import ABANDONED_SECONDS
from asgi_mpclean._shutdown.request import Request
from asgi_mpclean._shutdown.triggers import clean_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPAWN: Any = multiprocessing.get_context("spawn")


def run_and_reap(target: Any, *args: Any) -> None:
    ready = SPAWN.Event()
    child = SPAWN.Process(target=target, args=(*args, ready))
    child.start()
    assert ready.wait(20)
    child.join(20)


@pytest.mark.parametrize("lock", ["_rlock", "_wlock", "_notempty"])
def test_a_lock_whose_holder_is_dead_does_not_hold_the_items_back(lock: str) -> None:
    got: list[int] = []
    registry = Registry()
    queue = registry.register(SPAWN.Queue(), on_item=got.append)
    if lock == "_notempty":
        queue.put(0)
        wait_until_sent(queue)
        queue._notempty.acquire()  # As a `put` that is stuck on the lock of a dead joiner.
    else:
        run_and_reap(workers.die_holding, getattr(queue, lock))
        queue.put(0)
        wait_until_taken(queue)
    report = registry.clean()
    assert got == [0]
    assert (report.delivered, report.dropped) == (1, 0)
    assert report.seconds < 2
    if lock == "_notempty":
        queue._notempty.release()
        close_queue(queue, 1)


# The process that holds a lock is alive, and nobody's to end ------------------------------------


@pytest.fixture
def stranger() -> Iterator[Callable[..., None]]:
    """Start a process that no clean-up knows of."""
    started: list[Any] = []

    def start(target: Callable[..., None], what: Any, *args: Any) -> None:
        ready = SPAWN.Event()
        started.append(SPAWN.Process(target=target, args=(what, ready, *args)))
        started[0].start()
        assert ready.wait(20)
        unlink_semaphores(Snapshot().claim(semaphore_names_of(ready)))

    yield start
    started[0].kill()
    started[0].join(20)


@pytest.mark.parametrize("read", [0, 8])
def test_what_a_live_reader_holds_the_lock_of_is_left_to_it_and_counted(
    read: int, stranger: Callable[..., None]
) -> None:
    registry, got = Registry(), list[int]()
    queue = registry.register(SPAWN.Queue(), on_item=got.append)
    for number in range(10):
        queue.put(number)
    wait_until_sent(queue)
    stranger(workers.read_and_hold, queue, read)
    report = registry.clean()
    assert got == []
    assert report.dropped == 10 - read
    assert report.seconds < 2


def test_an_item_that_a_writer_keeps_in_the_feeders_hand_is_counted(
    stranger: Callable[..., None],
) -> None:
    registry, got = Registry(), list[int]()
    queue = registry.register(SPAWN.Queue(), on_item=got.append)
    stranger(workers.hold, queue._wlock)
    for number in range(3):
        queue.put(number)
    until = time.monotonic() + 10
    while len(queue._buffer) > 2 and time.monotonic() < until:
        time.sleep(0.001)
    report = registry.clean(timeout=2.0)
    assert got == [1, 2]
    assert (report.delivered, report.dropped) == (2, 1)
    assert not report.deadline_passed


def test_a_torn_frame_is_counted_and_what_follows_is_saved() -> None:
    got: list[int] = []
    registry = Registry()
    queue = registry.register(SPAWN.Queue(), on_item=got.append)
    queue.put(0)
    wait_until_sent(queue)
    run_and_reap(workers.half_a_frame, queue)
    queue.put(1)
    wait_until_taken(queue)
    report = registry.clean()
    assert got == [0, 1]
    assert (report.delivered, report.dropped) == (2, 1)
    assert report.seconds < 2


def test_who_waits_in_join_is_woken() -> None:
    registry = Registry()
    queue = registry.register(SPAWN.JoinableQueue(), on_item=list[int]().append)
    queue.put(1)
    joiner = threading.Thread(target=queue.join, daemon=True)
    joiner.start()
    until = time.monotonic() + 10
    while queue._cond._sleeping_count.get_value() == 0 and time.monotonic() < until:
        time.sleep(0.001)
    registry.clean()
    joiner.join(5)
    assert not joiner.is_alive()


def test_a_thread_that_waits_in_get_is_let_go() -> None:
    registry = Registry()
    queue = registry.register(SPAWN.Queue())
    ended: list[type] = []

    def consume() -> None:
        try:
            queue.get()
        except (EOFError, OSError) as error:
            ended.append(type(error))

    consumer = threading.Thread(target=consume)
    consumer.start()
    until = time.monotonic() + 10
    while not threads_in_get() and time.monotonic() < until:
        time.sleep(0.001)
    registry.clean()
    consumer.join(5)
    assert ended


def test_what_a_worker_still_writes_is_delivered(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    got: list[tuple[int, bytes]] = []
    registry = Registry()
    results = registry.register(context.Queue(), on_item=got.append)
    child = registry.register(context.Process(target=workers.fill, args=(results, 100)))
    child.start()
    # The child's end is blocked by its feeder until we read.
    report = registry.clean(timeout=20)
    assert (report.delivered, report.joined, report.dropped) == (100, 1, 0)
    assert [number for number, _ in got] == list(range(100))


@pytest.mark.parametrize(("pause", "parts"), [(0.02, 10), (0.2, 4)])
def test_an_item_that_is_being_written_is_waited_for(pause: float, parts: int) -> None:
    got: list[bytes] = []
    registry = Registry()
    queue = registry.register(SPAWN.Queue(), on_item=got.append)
    child = registry.register(SPAWN.Process(target=workers.slow_frame, args=(queue, pause, parts)))
    child.start()
    until = time.monotonic() + 20
    while queue.empty() and time.monotonic() < until:
        time.sleep(0.001)
    report = registry.clean(timeout=10)
    assert got == [b"x" * 1000]
    assert (report.delivered, report.dropped, report.joined) == (1, 0, 1)


@pytest.mark.parametrize("going_away", [False, True])
def test_a_thread_that_consumes_and_the_clean_up_share_the_items(going_away: bool) -> None:
    registry, consumed, left = Registry(), list[int](), list[int]()
    queue = registry.register(SPAWN.Queue(), on_item=left.append)
    ended = threading.Event()

    def consume() -> None:
        with contextlib.suppress(EOFError, OSError, ValueError, SystemExit):
            while True:
                consumed.append(queue.get())
                time.sleep(0.001)
        ended.set()

    thread = threading.Thread(target=consume, daemon=True)
    thread.start()
    for number in range(200):
        queue.put(number)
    report = clean_up(Request("test", 5.0, (registry,), going_away=going_away))
    if going_away:  # A daemon thread is left where it is; it ends with the process.
        close_pipe(queue, only_writer=True)
        close_queue(queue, 1)
    assert ended.wait(10)
    assert sorted(consumed + left) == list(range(200))
    assert report.dropped == 0


@pytest.mark.parametrize("is_late", [False, True])
def test_what_the_feeder_has_in_hand_goes_to_the_thread_that_waits(is_late: bool) -> None:
    registry, consumed, left = Registry(), list[int](), list[int]()
    queue = registry.register(SPAWN.Queue(), on_item=left.append)

    def consume() -> None:
        with contextlib.suppress(EOFError, OSError):
            consumed.append(queue.get())

    thread = threading.Thread(target=consume, daemon=True)
    thread.start()
    until = time.monotonic() + 10
    while not threads_in_get() and time.monotonic() < until:
        time.sleep(0.001)
    queue._wlock.acquire()  # It keeps the feeder from sending what it has in hand.
    for number in range(3):
        queue.put(number)
    while len(queue._buffer) > 2 and time.monotonic() < until:
        time.sleep(0.001)
    if not is_late:
        threading.Timer(0.1, queue._wlock.release).start()
    report = clean_up(Request("test", 5.0, (registry,), going_away=True))
    close_pipe(queue, only_writer=True)  # As the end of the process does.
    if is_late:
        queue._wlock.release()
    close_queue(queue, 1)
    queue._thread.join(10)
    thread.join(10)
    assert (consumed, left) == ([] if is_late else [0], [1, 2])
    assert report.dropped == is_late


def test_a_child_cleans_up_its_own_at_its_end(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    answers, sent = multiprocessing.Pipe(duplex=False)
    child = context.Process(target=workers.register_and_end, args=(sent, method))
    child.start()
    sent.close()
    assert answers.recv_bytes() == b"item"
    child.join(20)
    assert child.exitcode == 0


def test_what_cannot_be_flushed_from_a_copy_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    queue = SPAWN.Queue()
    queue._opid = -1  # Somebody else's.
    registry.register(queue, name="mail")
    for _ in range(3):
        queue.put(b"x" * 100_000)  # More than the pipe holds, and nobody reads.
    report = registry.clean(timeout=0.5)
    assert report.resources[0].outcome == "copy closed"
    assert report.saved + report.dropped == 3
    assert report.dropped >= 2
    assert report.seconds < 1.5
    monkeypatch.undo()
    unlink_semaphores(Snapshot().claim(semaphore_names_of(queue)))


def test_a_copy_that_nobody_reads_does_not_hold_up_the_others() -> None:
    registry, got = Registry(), list[int]()

    def on_item(item: int) -> None:
        time.sleep(0.01)
        got.append(item)

    mail = registry.register(SPAWN.Queue(), on_item=on_item)
    for number in range(50):
        mail.put(number)
    copy = SPAWN.Queue()
    copy._opid = -1  # Somebody else's.
    registry.register(copy)
    for _ in range(3):
        copy.put(b"x" * 100_000)
    report = registry.clean(timeout=2)
    assert (got, report.delivered) == (list(range(50)), 50)
    unlink_semaphores(Snapshot().claim(semaphore_names_of(copy)))


def test_limits_are_what_the_docstrings_say() -> None:
    assert STALLED_SECONDS < ABANDONED_SECONDS
