"""What a registry keeps of each thing, and when it lets go of it."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import pytest

from asgi_mpclean import Registry, add_kind
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._cpython import memory
from asgi_mpclean._cpython.features import AVAILABLE, Feature
from asgi_mpclean._registry.entries import AGES, NAMES_OF_LOST, OTHER_QUEUES, Entries
from asgi_mpclean._resources import kinds
from asgi_mpclean._resources.base import Entry
from asgi_mpclean._resources.lock import LOCK
from asgi_mpclean._shutdown.plan import Plan
from asgi_mpclean._shutdown.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPAWN: Any = multiprocessing.get_context("spawn")
FORK: Any = multiprocessing.get_context("fork")


def register_others(registry: Registry, number: int = 2 * AGES[-1]) -> None:
    if sys.implementation.name != "cpython":
        gc.collect()  # What was dropped before is gone, also where nothing counts references.
    for _ in range(number):
        registry.register(SPAWN.Lock(), name="another")


def register_until_gone(registry: Registry) -> None:
    def is_gone() -> bool:
        register_others(registry, 8)
        return len(registry) == 0

    assert eventually(is_gone, 10)


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry that is clean at the end."""
    registry = Registry()
    yield registry
    registry.clean()


class Bare:
    """What nothing can refer to weakly."""

    __slots__ = ()


def test_what_cannot_be_referred_to_weakly_is_held() -> None:
    entries, bare = Entries(), Bare()
    entries.add(Entry(bare, LOCK, "bare"), None, None)
    assert entries.shown() == [bare]


@pytest.mark.parametrize(
    ("make", "keeps"),
    [
        (SPAWN.Queue, lambda queue: queue.put(1)),
        (SPAWN.SimpleQueue, lambda queue: queue.put(1)),
    ],
    ids=["Queue", "SimpleQueue"],
)
def test_items_of_dropped_queues_are_told(
    registry: Registry, make: Callable[[], Any], keeps: Callable[[Any], object]
) -> None:
    number = NAMES_OF_LOST + 6
    for count in range(number):
        keeps(registry.register(make(), name=f"queue {count}"))
        register_others(registry, 2)
    register_until_gone(registry)
    report = registry.clean()
    told = {entry.name: entry.dropped for entry in report.resources if entry.dropped}
    assert report.dropped == number
    assert told[OTHER_QUEUES] == 6
    assert len(told) == NAMES_OF_LOST + 1
    assert registry.clean().resources == []


@pytest.mark.parametrize("item", [None, 1], ids=["a sentinel", "an item"])
def test_a_sentinel_that_nobody_took_is_no_lost_item(registry: Registry, item: int | None) -> None:
    registry.register(SPAWN.SimpleQueue()).put(item)
    register_until_gone(registry)
    assert registry.clean().dropped == (item is not None)


def test_an_executor_is_held_while_it_has_jobs(registry: Registry) -> None:
    go = FORK.Event()
    executor = ProcessPoolExecutor(1, mp_context=FORK, initializer=wait_for, initargs=(go,))
    job = registry.register(executor).submit(int)
    del executor
    register_others(registry)
    gc.collect()
    assert len(registry) == 1
    go.set()
    assert job.result(20) == 0
    register_until_gone(registry)
    assert eventually(lambda: not multiprocessing.active_children(), 10)


def wait_for(event: Any) -> None:
    """Be busy until then."""
    event.wait()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_is_added_as_a_clean_up_begins_is_refused_or_cleaned(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    add, taken = registry._entries.add, list[Entry]()

    def add_meanwhile(*args: Any) -> Any:
        if moment == "before":
            taken.extend(registry.begin_shutdown())
        record = add(*args)
        if moment == "after":
            taken.extend(registry.begin_shutdown())
        return record

    monkeypatch.setattr(registry._entries, "add", add_meanwhile)
    queue = SPAWN.SimpleQueue()
    if moment == "before":
        with pytest.raises(RuntimeError, match="it was closed"):
            registry.register(queue)
    else:
        registry.register(queue)
        Plan(taken, Request("test", 1)).run()
    registry.end_shutdown()
    assert len(registry) == 0
    assert queue._reader.closed


class Odd:
    """A class of somebody else's, of which even its state cannot be asked for."""

    @property
    def closed(self) -> bool:
        """Raise."""
        raise NotImplementedError


def test_what_cannot_be_asked_is_kept(registry: Registry) -> None:
    known, closed = list(kinds.KINDS), []
    add_kind(Odd, lambda odd, _seconds: closed.append(odd))
    try:
        odd = registry.register(Odd())
        register_others(registry)
        assert odd in registry
        registry.clean()
    finally:
        kinds.KINDS[:] = known
    assert closed == [odd]


@pytest.mark.parametrize("unlinks", [False, True], ids=["left", "unlinked"])
def test_memory_that_is_dropped_is_unlinked_all_the_same(
    registry: Registry, *, unlinks: bool
) -> None:
    block = registry.register(SharedMemory(create=True, size=64))
    name = block.name
    if unlinks:
        block.unlink()
    del block
    register_others(registry)
    gc.collect()
    assert len(registry) == (not unlinks)
    outcomes = [entry.outcome for entry in registry.clean().resources]
    assert outcomes == ([] if unlinks else ["unlinked"])
    with pytest.raises(FileNotFoundError):
        SharedMemory(name=name)


@pytest.mark.parametrize("feature", [Feature.TRACKER, Feature.SHARED_MEMORY])
def test_without_a_feature_dropped_memory_is_unlinked_or_left(
    registry: Registry, feature: Feature
) -> None:
    AVAILABLE.discard(feature)
    try:
        block = registry.register(SharedMemory(create=True, size=64))
        name = block.name
        del block
        report = registry.clean()
    finally:
        AVAILABLE.add(feature)
    if feature is Feature.TRACKER:
        assert [entry.outcome for entry in report.resources] == ["unlinked"]
    else:  # As without the library.
        left = SharedMemory(name=name)
        left.close()
        left.unlink()


def test_memory_that_cannot_be_looked_at_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with Registry() as registry:
        block = registry.register(SharedMemory(create=True, size=64))
        with monkeypatch.context() as patch:
            patch.setattr("_posixshmem.shm_open", fail)
            assert not memory.memory_is_gone(block)
        assert not memory.memory_is_gone(block)
    assert memory.memory_is_gone(block)


def test_without_the_feature_a_pool_is_not_said_to_have_ended(registry: Registry) -> None:
    AVAILABLE.discard(Feature.POOLS)
    try:
        with FORK.Pool(1) as pool:
            registry.register(pool)
        pool.join()
        register_others(registry)
        assert pool in registry
    finally:
        AVAILABLE.add(Feature.POOLS)
    register_others(registry)
    assert pool not in registry
