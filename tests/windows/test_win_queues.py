"""Queues and pipes on Windows, where a pipe keeps messages whole and no semaphore has a name."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import time
from typing import Any

import pytest
import win_peers
import workers

from asgi_mpclean import Process, Registry, ResourceReport
from asgi_mpclean._cpython import windows
from asgi_mpclean._cpython.features import Feature
from asgi_mpclean._cpython.queues import feeder_is_idle, readable_fd

KINDS = pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])


def make(kind: str) -> Any:
    return getattr(multiprocessing, kind)()


def clean(resource: Any, **options: Any) -> ResourceReport:
    registry = Registry()
    registry.register(resource, name="it", **options)
    report = registry.clean(10)
    assert not report.deadline_passed
    return report.resources[0]


def bytes_ready(queue: Any) -> int:
    return (windows.peek(readable_fd(queue) or 0) or (0, 0))[0]


def wait_until_sent(queue: Any) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and feeder_is_idle(queue, 1) is False:
        time.sleep(0.01)


@KINDS
@pytest.mark.parametrize("delivers", [True, False])
def test_what_is_in_a_queue_is_delivered_in_order_or_counted(kind: str, delivers: bool) -> None:
    queue, got = make(kind), list[int]()
    for number in range(10):
        queue.put(number)
    wait_until_sent(queue)
    report = clean(queue, **({"on_item": got.append} if delivers else {}))
    assert got == (list(range(10)) if delivers else [])
    assert (report.delivered, report.dropped) == ((10, 0) if delivers else (0, 10))


def test_a_backlog_follows_what_is_in_the_pipe() -> None:
    queue, got = make("Queue"), list[Any]()
    for number in range(3000):  # More than a pipe holds.
        queue.put((number, b"x" * 100))
    clean(queue, on_item=lambda item: got.append(item[0]))
    assert got == list(range(3000))


@pytest.mark.parametrize(("count", "size"), [(300, 1024), (3, 3_000_000)], ids=["many", "large"])
def test_a_worker_blocked_by_a_full_pipe_loses_nothing(count: int, size: int) -> None:
    registry, got = Registry(), list[int]()
    queue = registry.register(make("Queue"), on_item=lambda item: got.append(item[0]))
    worker = Process(target=workers.fill, args=(queue, count, size), registry=registry)
    worker.start()
    while not bytes_ready(queue):
        time.sleep(0.01)
    report = registry.clean(10)
    assert got == list(range(count))
    assert [entry.outcome for entry in report.resources] == ["closed", "joined"]


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_what_a_dead_reader_locks_is_delivered(kind: str) -> None:
    queue, ready, got = make(kind), multiprocessing.Event(), list[int]()
    worker = multiprocessing.Process(target=win_peers.read, args=(queue, ready))
    worker.start()
    assert ready.wait(20)
    queue.put("taken, as it waits in get() then")
    wait_until_sent(queue)
    while bytes_ready(queue) or not _is_locked(queue):
        time.sleep(0.01)
    worker.kill()
    worker.join()
    for number in range(10):
        queue.put(number)
    wait_until_sent(queue)
    report = clean(queue, on_item=got.append)
    assert got == list(range(10))
    assert report.dropped == 0


def _is_locked(queue: Any) -> bool:
    taken = queue._rlock.acquire(block=False)
    if taken:
        queue._rlock.release()
    return not taken


@KINDS
@pytest.mark.parametrize("of", ["parent", "itself"])
def test_a_child_reads_what_it_made_and_nothing_of_its_parent(kind: str, of: str) -> None:
    queue, (here, there) = make(kind), multiprocessing.Pipe()
    for number in range(3):
        queue.put(number)
    wait_until_sent(queue)
    if of == "parent":
        child = multiprocessing.Process(target=win_peers.clean_copy, args=(queue, there))
    else:
        child = multiprocessing.Process(target=win_peers.clean_own, args=(kind, there))
    child.start()
    assert here.poll(20)
    assert here.recv() == (("copy closed", []) if of == "parent" else ("closed", [0, 1, 2]))
    child.join()
    assert [queue.get() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("delivers", [True, False])
def test_messages_in_a_pipe_are_delivered_or_counted(delivers: bool) -> None:
    (here, there), got = multiprocessing.Pipe(), list[Any]()
    for item in (0, "x" * 5000, 2):
        there.send(item)
    report = clean(here, **({"on_item": got.append} if delivers else {}))
    assert got == ([0, "x" * 5000, 2] if delivers else [])
    assert (report.delivered, report.dropped) == ((3, 0) if delivers else (0, 3))
    there.close()


def test_messages_in_a_socket_are_said_to_be_dropped() -> None:
    with multiprocessing.connection.Listener(("127.0.0.1", 0), backlog=1) as listener:
        client = multiprocessing.connection.Client(listener.address)
        server = listener.accept()
    client.send("one")
    assert server.poll(10)
    assert clean(server).dropped == 1
    client.close()


@pytest.mark.parametrize("without", [Feature.MESSAGES, Feature.PIPE], indirect=True)
@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_without_private_names_a_queue_is_read_by_get(without: Feature, kind: str) -> None:
    queue, got = make(kind), list[int]()
    for number in range(10):
        queue.put(number)
    wait_until_sent(queue)
    time.sleep(0.1)
    assert clean(queue, on_item=got.append).delivered == 10, without
    assert got == list(range(10))


def test_a_queue_that_nobody_registered_is_found_by_its_feeder() -> None:
    queue = make("Queue")
    queue.put(1)
    wait_until_sent(queue)
    (report,) = Registry().clean(10, discover=True).resources
    assert (report.kind, report.dropped, report.registered) == ("Queue", 1, False)


def test_a_message_that_somebody_else_has_taken_is_not_waited_for() -> None:
    here, there = multiprocessing.Pipe(duplex=False)
    assert windows.peek(here.fileno()) == (0, 0)
    assert windows.read_message(here.fileno(), 5) is None
    there.send_bytes(b"12345")
    there.send_bytes(b"123")
    assert windows.peek(here.fileno()) == (8, 5)
    assert windows.read_message(here.fileno(), 2) == b"12345"
    assert windows.read_message(here.fileno(), 9) == b"123"
    there.close()
    assert windows.peek(here.fileno()) is None
    here.close()
    assert windows.peek(0) == (0, 0)
