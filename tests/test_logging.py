"""Which queues carry log records, and who reads them."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import logging.handlers
import multiprocessing
import queue as stdlib_queue
from typing import TYPE_CHECKING, Any

import pytest
import workers

from asgi_mpclean import Process, Registry, work_off
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._cpython.features import Feature
from asgi_mpclean._cpython.log_queues import queues_of_handlers, queues_of_listeners
from asgi_mpclean._items.holders import is_read_by
from asgi_mpclean._resources.asking import refers_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPAWN: Any = multiprocessing.get_context("spawn")
QUEUES: dict[str, Callable[[], Any]] = {"ours": SPAWN.Queue, "threads'": stdlib_queue.Queue}


@contextlib.contextmanager
def logged_to(queue: Any) -> Iterator[logging.Logger]:
    logger, handler = logging.getLogger("some.app"), logging.handlers.QueueHandler(queue)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger
    logger.removeHandler(handler)
    handler.close()


@pytest.mark.parametrize("kind", QUEUES)
def test_the_queue_of_a_handler_is_known_as_long_as_there_is_the_handler(kind: str) -> None:
    registry = Registry()
    queue = QUEUES[kind]()
    with contextlib.suppress(TypeError):
        registry.register(queue)
    with logged_to(queue):
        assert any(found is queue for found in queues_of_handlers())
    gc.collect()  # Nothing counts references in PyPy.
    assert not any(found is queue for found in queues_of_handlers())
    registry.clean()


def test_the_queue_of_a_listener_is_known_while_that_listens() -> None:
    registry = Registry()
    queue = registry.register(SPAWN.Queue())
    listener = logging.handlers.QueueListener(queue)
    assert queues_of_listeners() == []
    listener.start()
    assert eventually(lambda: queues_of_listeners() == [queue], 10)
    listener.stop()
    assert queues_of_listeners() == []
    registry.clean()


@pytest.mark.parametrize("without", [Feature.LOGGING], indirect=True)
@pytest.mark.usefixtures("without")
def test_without_the_feature_no_queue_is_known_to_carry_records() -> None:
    queue = SPAWN.SimpleQueue()
    with logged_to(queue):
        assert queues_of_handlers() == queues_of_listeners() == []
    queue.close()


@pytest.mark.parametrize("about", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        work_off,
        lambda queue: lambda: queue.put(None),
        lambda queue: functools.partial(queue.put, None),
        lambda queue: functools.partial(print, queue),
        lambda queue: queue.close,
    ],
    ids=["work_off", "closure", "partial of a method", "partial", "method"],
)
def test_a_stop_that_is_about_a_queue_is_known(make: Callable[[Any], Any], about: bool) -> None:
    registry = Registry()
    queue, other = registry.register(SPAWN.Queue()), registry.register(SPAWN.Queue())
    assert refers_to(make(queue), queue if about else other) is about
    assert not refers_to(None, queue)
    registry.clean()


def test_who_waits_for_an_item_is_known_as_a_reader() -> None:
    registry = Registry()
    queue = registry.register(SPAWN.Queue())
    other = registry.register(SPAWN.Queue())
    reader = Process(target=workers.work_until_none, args=(queue, other), registry=registry)
    reader.start()
    fds = queue._reader.fileno(), other._reader.fileno()
    assert eventually(lambda: is_read_by(reader.pid, fds[0]), 10)
    assert not is_read_by(reader.pid, fds[1])
    queue.put(None)
    reader.join(20)
    assert not is_read_by(reader.pid, fds[0])
    registry.clean()


def test_a_clean_up_leaves_a_queue_open_that_is_still_logged_to() -> None:
    registry = Registry()
    queue = registry.register(SPAWN.Queue(), name="log")
    with logged_to(queue) as logger:
        report = registry.clean()
        logger.info("afterwards")
        assert queue.get(timeout=10).getMessage() == "afterwards"
    assert [entry.outcome for entry in report.resources] == ["left open"]
    gc.collect()
    registry.register(queue)
    assert registry.clean().closed == 1
