"""What is in a queue at the end is delivered, in order and once, or counted as dropped."""

from __future__ import annotations

import multiprocessing
import multiprocessing.queues
import sys
import threading
import time
from typing import Any

import pytest
import workers
from feeders import wait_until_sent, wait_until_taken

from asgi_mpclean import Registry
from asgi_mpclean._cpython.queues import feeder
from asgi_mpclean._cpython.semaphores import Snapshot, semaphore_names_of, unlink_semaphores

SPAWN: Any = multiprocessing.get_context("spawn")


class Unpicklable:
    """Pickles, but does not unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_raise, ())


def _raise() -> None:
    msg = "does not unpickle"
    raise ValueError(msg)


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
@pytest.mark.parametrize(
    ("count", "size"),
    [(0, 1), (1, 1), (2000, 1024), (3, 1 << 20), (1, 20 << 20)],
    ids=["empty", "one", "more than the pipe", "longer than the pipe", "20 MiB"],
)
def test_everything_is_delivered_in_order(method: str, kind: str, count: int, size: int) -> None:
    got: list[tuple[int, bytes]] = []
    registry = Registry()
    queue = registry.register(
        getattr(multiprocessing.get_context(method), kind)(), on_item=got.append
    )
    for number in range(count):
        queue.put((number, b"x" * size))
    report = registry.clean()
    assert [number for number, _ in got] == list(range(count))
    assert all(len(payload) == size for _, payload in got)
    assert (report.delivered, report.dropped, report.closed) == (count, 0, 1)
    assert not report.deadline_passed


def test_the_order_holds_whatever_the_feeder_is_doing() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # So that the feeder takes items while we do.
    try:
        for _ in range(50):
            got: list[int] = []
            with Registry() as registry:
                queue = registry.register(SPAWN.Queue(), on_item=got.append)
                for number in range(1000):
                    queue.put(number)
            assert got == list(range(1000))
    finally:
        sys.setswitchinterval(interval)


def test_a_very_long_item_is_delivered_within_the_deadline() -> None:
    got: list[int] = []
    with Registry() as registry:
        queue = registry.register(SPAWN.Queue(), on_item=lambda item: got.append(len(item)))
        queue.put(b"x" * (100 << 20))
        wait_until_taken(queue)
        report = registry.clean()
    assert got == [100 << 20]
    assert not report.deadline_passed


def test_a_simple_queue_is_drained(method: str) -> None:
    got: list[int] = []
    registry = Registry()
    queue = registry.register(multiprocessing.get_context(method).SimpleQueue(), on_item=got.append)
    for number in range(10):
        queue.put(number)
    assert registry.clean().delivered == 10
    assert got == list(range(10))


@pytest.mark.parametrize("pause", [0.0, 0.0005, 0.005])
def test_the_item_in_the_feeders_hand_is_not_lost(pause: float) -> None:
    for _ in range(30):
        got: list[int] = []
        registry = Registry()
        queue = registry.register(SPAWN.Queue(), on_item=got.append)

        def produce(queue: Any = queue) -> None:
            for number in range(50):
                queue.put(number)

        producer = threading.Thread(target=produce)
        producer.start()
        producer.join()
        time.sleep(pause)  # The moment at which the feeder is met is what varies here.
        registry.clean()
        assert got == list(range(50))


def test_a_bounded_queues_blocked_put_goes_on_and_is_delivered() -> None:
    got: list[int] = []
    registry = Registry()
    queue = registry.register(SPAWN.Queue(maxsize=1), on_item=got.append)
    queue.put(0)
    producer = threading.Thread(target=queue.put, args=(1,))
    producer.start()
    report = registry.clean()
    producer.join(5)
    assert not producer.is_alive()
    # The second was not in the queue yet; it comes in any order, or after the last look.
    assert sorted(got) in ([0], [0, 1])
    assert report.dropped == 0


def test_without_on_item_the_items_are_counted_and_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = Registry()
    queue = registry.register(SPAWN.Queue(), name="mail")
    for number in range(7):
        queue.put(number)
    report = registry.clean()
    assert (report.delivered, report.dropped) == (0, 7)
    assert "Queue mail: 7 items dropped" in caplog.text


def test_items_that_do_not_unpickle_are_dropped_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got: list[object] = []
    registry = Registry()
    queue = registry.register(SPAWN.Queue(), name="mail", on_item=got.append)
    for item in (1, Unpicklable(), 2):
        queue.put(item)
    wait_until_sent(queue)
    report = registry.clean()
    assert got == [1, 2]
    assert (report.delivered, report.dropped) == (2, 1)
    assert "mail" in caplog.text
    assert "does not unpickle" in caplog.text


def test_an_on_item_that_raises_gets_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []

    def on_item(item: int) -> None:
        seen.append(item)
        raise SystemExit(item)

    registry = Registry()
    queue = registry.register(SPAWN.Queue(), name="mail", on_item=on_item)
    for number in range(3):
        queue.put(number)
    report = registry.clean()
    assert seen == [0, 1, 2]
    assert (report.delivered, report.resources[0].failed) == (3, 3)
    assert "mail: on_item failed for 3 items: SystemExit(0)" in caplog.text


def test_an_on_item_that_blocks_is_left_behind_and_other_queues_are_not_held_up() -> None:
    free, got = threading.Event(), list[int]()

    def block(_item: object) -> None:
        free.wait(30)

    registry = Registry()
    stuck = registry.register(SPAWN.Queue(), on_item=block)
    other = registry.register(SPAWN.Queue(), on_item=got.append)
    for number in range(3):
        stuck.put(number)
        other.put(number)
    report = registry.clean(timeout=1)
    free.set()
    assert got == [0, 1, 2]
    assert (report.delivered, report.dropped) == (3, 3)
    assert report.seconds < 2


class Broken(multiprocessing.queues.Queue):  # type: ignore[type-arg]
    """A subclass that has ideas of its own."""

    @property
    def _rlock(self) -> Any:
        msg = "no lock today"
        raise OSError(msg)

    @_rlock.setter
    def _rlock(self, lock: Any) -> None:
        self.reading = lock


@pytest.mark.parametrize("size", [1, 32 * 1024], ids=["", "a full pipe"])
@pytest.mark.parametrize("with_worker", [False, True], ids=["", "a worker"])
def test_a_queue_that_goes_wrong_does_not_stop_the_rest(
    with_worker: bool, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[int] = []
    registry = Registry()
    broken = registry.register(Broken(ctx=SPAWN), name="broken", on_item=print)
    broken.put(b"x" * size)
    mail = registry.register(SPAWN.Queue(), on_item=got.append)
    mail.put(1)
    wait_until_sent(broken)
    ready = SPAWN.Event()
    if with_worker:
        registry.register(SPAWN.Process(target=workers.sleep, args=(ready,), name="w")).start()
        assert ready.wait(20)
    report = registry.clean()
    assert got == [1]
    assert "Broken broken: clean-up failed" in caplog.text
    assert len(caplog.records) < 5  # Not once more with each look at the worker.
    assert (report.semaphores, report.closed, report.forced) == (6, 2, int(with_worker))
    unlink_semaphores(Snapshot().claim(semaphore_names_of(ready)))


@pytest.mark.parametrize("lock_held", [False, True], ids=["", "its lock held"])
def test_a_simple_queue_that_the_app_has_closed_is_reported_as_such(lock_held: bool) -> None:
    registry = Registry()
    queue = registry.register(SPAWN.SimpleQueue(), on_item=print)
    if lock_held:
        queue._rlock.acquire()
    queue.close()
    report = registry.clean()
    assert [entry.outcome for entry in report.resources] == ["already closed"]
    assert report.semaphores == 2


def test_a_closed_queue_is_reported_as_such() -> None:
    got: list[int] = []
    registry = Registry()
    queue = registry.register(SPAWN.Queue(), on_item=got.append)
    queue.close()
    queue.join_thread()
    report = registry.clean()
    assert [entry.outcome for entry in report.resources] == ["already closed"]
    assert (report.delivered, report.dropped, report.semaphores) == (0, 0, 3)


def test_after_the_clean_up_a_queue_is_closed_and_its_feeder_ends() -> None:
    registry = Registry()
    queue = registry.register(SPAWN.Queue(), on_item=print)
    queue.put(1)
    thread = feeder(queue)
    registry.clean()
    with pytest.raises(ValueError, match="closed"):
        queue.put(2)
    assert thread is not None
    thread.join(5)
    assert not thread.is_alive()


def test_many_feeders_end_behind_the_callers_back() -> None:
    registry = Registry()
    queues = [registry.register(SPAWN.Queue(), on_item=_ignore) for _ in range(40)]
    for queue in queues:
        queue.put(1)
    idle = registry.register(SPAWN.SimpleQueue())  # It has no feeder.
    threads = [thread for queue in queues if (thread := feeder(queue))]
    assert registry.clean().delivered == 40
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    until = time.monotonic() + 10
    while not idle._reader.closed and time.monotonic() < until:
        time.sleep(0.001)
    assert idle._reader.closed


def _ignore(_item: object) -> None:
    pass
