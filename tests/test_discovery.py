"""What nobody registered is found when the process goes away, and only then."""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import sys
import time
import types
from multiprocessing.shared_memory import ShareableList
from typing import Any

import pytest
import workers

import asgi_mpclean
from asgi_mpclean import Registry
from asgi_mpclean._cpython.queues import close_queue, feeder
from asgi_mpclean._cpython.semaphores import semaphore_names_of
from asgi_mpclean._shutdown import discovery

SPAWN: Any = multiprocessing.get_context("spawn")


def clean_as_if_going_away(timeout: float = 5) -> asgi_mpclean.CleanupReport:
    return Registry().clean(timeout=timeout, discover=True)


def test_queues_semaphores_and_workers_are_found(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    results, lock = context.Queue(), context.Lock()
    worker = context.Process(target=workers.fill, args=(results, 300), name="filler")
    worker.start()
    assert results.get(timeout=20)[0] == 0
    report = clean_as_if_going_away()
    kinds = {entry.kind: entry for entry in report.resources}
    assert not any(entry.registered for entry in report.resources)
    assert kinds["Queue"].dropped == 299
    assert "filler" in {entry.name for entry in report.resources}
    assert report.joined == 1
    assert report.semaphores == (0 if method == "fork" else 4)
    assert not semaphore_names_of(lock) or method != "fork"
    close_queue(results, 1)


class OnlySaysSo:
    """Stands among the modules as cffi's libraries do: a module by its word, without a dict."""

    __slots__ = ()
    __class__: Any = types.ModuleType


def test_what_was_lost_is_called_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "a_library", OnlySaysSo())
    monkeypatch.setattr(sys.modules[__name__], "MAIL", SPAWN.Queue(), raising=False)
    MAIL.put(1)  # type: ignore[name-defined]  # noqa: F821 - see above
    report = clean_as_if_going_away()
    dropped = {entry.name: entry.dropped for entry in report.resources if entry.dropped}
    assert dropped == {f"{__name__}.MAIL": 1}


def test_a_step_that_fails_does_not_stop_the_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(discovery, "FINDERS", (None,))
    registry, got = Registry(), list[int]()
    registry.register(SPAWN.Queue(), on_item=got.append).put(1)
    report = registry.clean(discover=True)
    assert (got, report.semaphores) == ([1], 3)
    assert "a step of the clean-up failed" in caplog.text


def test_only_when_asked() -> None:
    queue, registry = SPAWN.Queue(), Registry()
    assert registry.clean().resources == []
    queue.put(1)
    assert queue.get(timeout=10) == 1
    registry.register(queue)
    assert registry.clean().semaphores == 3


def test_what_other_registries_hold_is_cleaned_with_its_options() -> None:
    other, got = Registry(), list[int]()
    queue = other.register(SPAWN.Queue(), on_item=got.append)
    queue.put(1)
    report = clean_as_if_going_away()
    assert (got, report.delivered, len(other)) == ([1], 1, 0)
    other.clean()


def test_a_queue_that_nobody_refers_to_and_whose_feeder_is_blocked() -> None:
    queue = SPAWN.Queue()
    for _ in range(100):
        queue.put(b"x" * 10_000)
    thread = feeder(queue)
    del queue
    gc.collect()  # Nothing counts references in PyPy.
    report = clean_as_if_going_away()
    assert [(entry.kind, entry.dropped) for entry in report.resources] == [
        ("UnreferencedQueue", 100)
    ]
    assert clean_as_if_going_away().resources == []
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()


def test_an_unreferenced_queue_whose_feeder_ends_in_between() -> None:
    for _ in range(30):
        queue = SPAWN.Queue()
        queue.put(1)
        del queue  # The feeder is told to send it, close the pipe and end.
        report = clean_as_if_going_away()
        assert report.dropped <= 1
        assert report.seconds < 1


def test_a_worker_that_is_registered_is_not_found_once_more() -> None:
    registry = Registry()
    ready = SPAWN.Event()
    registry.register(SPAWN.Process(target=workers.sleep, args=(ready,), name="w")).start()
    assert ready.wait(20)
    report = registry.clean(discover=True)
    assert [(entry.name, entry.registered) for entry in report.resources] == [("w", True)]


@pytest.mark.parametrize("registered", [True, False])
def test_the_block_of_a_list_is_found_once(registered: bool) -> None:
    """The list has a `SharedMemory` inside, which is among the blocks that this process made."""
    gc.collect()  # What other tests have dropped would be found, where nothing counts references.
    registry, memory = Registry(), ShareableList([1, 2])
    if registered:
        registry.register(memory)
    report = registry.clean(discover=True)
    assert [entry.outcome for entry in report.resources] == ["unlinked"]
    assert [entry.registered for entry in report.resources] == [registered]


def test_what_was_cleaned_is_not_found_again() -> None:
    queue = SPAWN.Queue()
    assert len(clean_as_if_going_away().resources) == 1
    assert clean_as_if_going_away().resources == []
    close_queue(queue, 1)


@pytest.mark.parametrize("busy", [False, True])
def test_a_pool_is_ended(busy: bool) -> None:
    pool = SPAWN.Pool(2, initializer=asgi_mpclean.worker_init)
    assert pool.apply(abs, (-1,)) == 1
    if busy:
        pool.apply_async(time.sleep, (600,))
    report = clean_as_if_going_away(3)
    assert report.seconds < 3.5
    assert not multiprocessing.active_children()
    del pool


@pytest.mark.parametrize("busy", [False, True])
def test_an_executor_is_ended(busy: bool) -> None:
    executor = concurrent.futures.ProcessPoolExecutor(2, mp_context=SPAWN)
    assert executor.submit(abs, -1).result(30) == 1
    pending = [executor.submit(time.sleep, 600) for _ in range(8)] if busy else []
    report = clean_as_if_going_away(3)
    assert report.seconds < 3.5
    assert not multiprocessing.active_children()
    executor.shutdown()  # Its manager thread has ended, so that this does not hang.
    assert all(future.done() for future in pending)


def test_a_manager_is_ended() -> None:
    manager = SPAWN.Manager()
    shared = manager.dict(answer=42)
    assert shared["answer"] == 42
    report = clean_as_if_going_away(3)
    assert report.seconds < 3.5
    assert not multiprocessing.active_children()


def test_a_worker_that_imports_the_app_waits_until_its_results_are_read(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    results = asgi_mpclean.register(context.Queue())
    worker = context.Process(target=workers.fill_as_an_app_does, args=(results, 300))
    worker.start()
    assert results.get(timeout=30)[0] == 0
    time.sleep(1)  # Longer than the worker's own clean-up would take.
    assert [results.get(timeout=10)[0] for _ in range(299)] == list(range(1, 300))
    worker.join(20)
    assert worker.exitcode == 0
    asgi_mpclean.clean()
