"""Threads of the app that still use a queue when it is over."""

from __future__ import annotations

import concurrent.futures.thread  # Newer Pythons load it only when it is used.
import contextlib
import functools
import multiprocessing
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._cpython.discovery import threads_in_get
from asgi_mpclean._cpython.endings import end_thread, threads_of_executors, threads_waited_for
from asgi_mpclean._cpython.features import AVAILABLE, Feature
from asgi_mpclean._cpython.queues import _sending, close_queue, drop_puts
from asgi_mpclean._cpython.semaphores import Snapshot, semaphore_names_of, unlink_semaphores

if TYPE_CHECKING:
    from collections.abc import Iterator

SPAWN: Any = multiprocessing.get_context("spawn")


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = getattr(SPAWN, getattr(request, "param", "Queue"))()
    yield made
    close_queue(made, 1) if hasattr(made, "_buffer") else made.close()
    unlink_semaphores(Snapshot().claim(semaphore_names_of(made)))


def is_in_get(queue: Any) -> bool:
    return eventually(lambda: id(queue) in threads_in_get(), 10)


@pytest.mark.parametrize("queue", ["Queue", "JoinableQueue", "SimpleQueue"], indirect=True)
@pytest.mark.parametrize("used", [False, True], ids=["", "used before"])
def test_what_is_put_after_the_clean_up_is_dropped_and_said_once(queue: Any, used: bool) -> None:
    put, said = queue.put, list[int]()  # Somebody has got hold of the method.
    if used:
        put(0)
        assert queue.get() == 0
    drop_puts(queue, lambda: said.append(1))
    for number in range(3):
        put(number)
        queue.put(number)
    assert said == [1]
    assert queue.empty()
    if hasattr(queue, "_buffer"):
        close_queue(queue, 1)
        assert queue._thread is None or eventually(lambda: not queue._thread.is_alive(), 10)
        put(4)
    else:
        queue.close()
        put(4)


@pytest.mark.parametrize("queue", ["SimpleQueue"], indirect=True)
@pytest.mark.parametrize("seen", [Feature.FRAMES, Feature.HOLDERS], ids=["frames", "lock"])
def test_a_descriptor_is_not_closed_under_a_thread_that_writes(
    queue: Any, seen: Feature, request: pytest.FixtureRequest
) -> None:
    """Without a GIL its frames may not tell, as they change meanwhile; and Windows has no lock."""
    raised = list[Exception]()

    def put() -> None:
        try:
            queue.put(bytes(1 << 20))  # Written in two parts.
        except Exception as error:  # noqa: BLE001 - the question is whether there is one
            raised.append(error)

    filled, fd = 0, queue._writer.fileno()
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(fd, b".")
    os.set_blocking(fd, True)
    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    assert eventually(lambda: any(_sending()), 10)
    for feature in {Feature.FRAMES, Feature.HOLDERS} - {seen}:
        AVAILABLE.discard(feature)
        request.addfinalizer(functools.partial(AVAILABLE.add, feature))
    drop_puts(queue, list[int]().clear)
    queue._writer.close()
    while filled:
        filled -= len(os.read(queue._reader.fileno(), filled))
    assert queue._reader.poll(10)
    assert len(queue.get()) == 1 << 20
    thread.join(10)
    assert not raised
    queue._writer.close()
    assert queue._writer.closed


def test_a_thread_in_get_ends_by_system_exit(queue: Any) -> None:
    ended = list[str]()

    def read() -> None:
        try:
            queue.get()
        except BaseException as error:  # noqa: BLE001 - the question is which
            ended.append(type(error).__name__)

    thread = threading.Thread(target=read)
    thread.start()
    assert is_in_get(queue)
    assert end_thread(thread)
    queue._writer.close()
    thread.join(10)
    assert ended == ["SystemExit"]


def test_a_thread_of_an_executor_is_waited_for_once_that_is_shut_down(queue: Any) -> None:
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(queue.get)
    assert is_in_get(queue)
    (thread,) = threads_in_get()[id(queue)]
    assert thread.ident in threads_of_executors()
    assert thread.ident not in (threads_waited_for() or ())
    ending = threading.Thread(target=pool.shutdown)
    ending.start()
    assert eventually(lambda: thread.ident in (threads_waited_for() or ()), 10)
    queue.put("the end")
    ending.join(10)
    assert future.result(10) == "the end"


@pytest.mark.parametrize("without", [Feature.THREAD_POOLS], indirect=True)
@pytest.mark.usefixtures("without")
def test_without_the_feature_any_thread_may_be_that_of_an_executor(queue: Any) -> None:
    thread = threading.Thread(target=queue.get)
    thread.start()
    assert is_in_get(queue)
    assert thread.ident in threads_of_executors()
    assert threads_waited_for() == set()
    queue.put(None)
    thread.join(10)
    assert Feature.THREAD_POOLS not in AVAILABLE
