"""An `on_item` that only stores its items needs no thread; nothing else is different."""

from __future__ import annotations

import _thread
import collections
import fractions
import multiprocessing
import queue
from typing import TYPE_CHECKING, Any

import pytest
from feeders import SlowToUnpickle, wait_until_sent

from asgi_mpclean import Registry, _callbacks, _delivery

if TYPE_CHECKING:
    from collections.abc import Callable

SPAWN: Any = multiprocessing.get_context("spawn")
HALF = fractions.Fraction(1, 2)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What threads were started for."""
    started: list[object] = []
    start = _thread.start_new_thread

    def note(function: Callable[..., object], *args: Any) -> int:
        started.append(function)
        return start(function, *args)

    monkeypatch.setattr(_thread, "start_new_thread", note)
    return started


class Items(list[Any]):
    """A list, but who knows what its `append` does."""


def wait_for_nothing(_queue: object) -> None:
    """Leave the items in the backlog, or in the feeder's hand, or in the pipe."""


@pytest.mark.parametrize(
    ("items", "threads_needed"),
    [
        ([1, "two", (3, {"four": [5.0, None]}), b"six", {7}, True], False),
        ([HALF, 1, 2], True),
        ([1, HALF, 2], True),
    ],
    ids=["plain", "the first is not", "the second is not"],
)
@pytest.mark.parametrize("wait", [wait_until_sent, wait_for_nothing])
def test_plain_items_are_stored_without_a_thread(
    items: list[Any], wait: Callable[[Any], None], threads_needed: bool, threads: list[object]
) -> None:
    registry, got = Registry(), list[Any]()
    queue = registry.register(SPAWN.Queue(), on_item=got.append)
    for item in items:
        queue.put(item)
    wait(queue)
    report = registry.clean()
    assert (got, report.delivered, report.dropped) == (items, len(items), 0)
    assert len(threads) <= threads_needed
    assert threads or not threads_needed or wait is wait_for_nothing


def test_what_can_be_stored_does_not_overtake_what_cannot() -> None:
    registry, got = Registry(), list[Any]()
    queue = registry.register(SPAWN.Queue(), on_item=got.append)
    queue.put(HALF)
    wait_until_sent(queue)
    queue._buffer.append(1)  # The feeder is not told: it stays in the backlog.
    assert registry.clean().delivered == 2
    assert got == [HALF, 1]


class Keeper:
    """An object with an `append` of its own."""

    def append(self, _item: object) -> None:
        """Do anything."""


@pytest.mark.parametrize(
    ("on_item", "stores"),
    [
        ([].append, True),
        (collections.deque[int]().append, True),
        (queue.SimpleQueue[int]().put, True),
        (collections.deque[int](maxlen=1).append, False),
        (Items().append, False),
        ([].extend, False),
        (Keeper().append, False),
        (queue.Queue[int]().put, False),
        (lambda _: None, False),
        (None, False),
    ],
)
def test_what_only_stores(on_item: Any, stores: bool) -> None:
    assert _delivery._only_stores(on_item) is stores


def test_much_is_unpickled_where_it_can_be_left_behind(
    monkeypatch: pytest.MonkeyPatch, threads: list[object]
) -> None:
    monkeypatch.setattr(_callbacks, "FEW", 100)
    registry, got = Registry(), list[bytes]()
    queue = registry.register(SPAWN.SimpleQueue(), on_item=got.append)
    queue.put(b"x" * 100)
    registry.clean()
    assert (got, len(threads)) == ([b"x" * 100], 1)


def test_what_only_looks_plain_is_counted_as_dropped_and_the_rest_goes_on() -> None:
    registry, got = Registry(), list[Any]()
    queue = registry.register(SPAWN.SimpleQueue(), on_item=got.append)
    queue.put(1)
    queue._writer.send_bytes(b"\x80\x04K")  # It ends too soon.
    queue.put(3)
    report = registry.clean().resources[0]
    assert (got, report.delivered, report.dropped) == ([1, 3], 2, 1)
    assert "truncated" in str(report.error)


def test_an_item_that_blocks_is_left_behind_and_what_was_stored_is_counted() -> None:
    registry, got = Registry(), list[Any]()
    queue = registry.register(SPAWN.SimpleQueue(), on_item=got.append)
    for item in (1, SlowToUnpickle(), 3):
        queue.put(item)
    report = registry.clean(timeout=0.5)
    assert (got, report.delivered, report.dropped) == ([1], 1, 2)
    assert report.seconds < 1.5
