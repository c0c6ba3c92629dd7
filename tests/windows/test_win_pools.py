"""Pools and executors on Windows, registered or not."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import win_peers
from console import is_wine

from asgi_mpclean import Registry, worker_init

if TYPE_CHECKING:
    from pathlib import Path

HOWS = pytest.mark.parametrize("how", ["registered", "discovered"])


def clean(resource: Any, how: str) -> Any:
    registry = Registry()
    if how == "registered":
        registry.register(resource, name="it")
    report = registry.clean(8, discover=how == "discovered")
    assert not report.deadline_passed
    (entry,) = report.resources
    assert entry.registered == (how == "registered")
    assert not multiprocessing.active_children()
    return entry


def wait_for(path: Path) -> None:
    until = time.monotonic() + 20
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert path.exists()


@HOWS
def test_an_idle_pool_is_closed(how: str) -> None:
    pool = multiprocessing.Pool(1, initializer=worker_init)  # A second one may still be starting.
    assert pool.map(win_peers.double, range(4)) == [0, 2, 4, 6]
    assert clean(pool, how).outcome == "closed"


@HOWS
def test_a_pool_finishes_what_it_has_begun(how: str, tmp_path: Path) -> None:
    pool = multiprocessing.Pool(1)
    begun = pool.apply_async(win_peers.take_long, (tmp_path / "begun",))
    others = [pool.apply_async(win_peers.take_long, (tmp_path / str(n),)) for n in range(20)]
    wait_for(tmp_path / "begun")
    entry = clean(pool, how)
    assert begun.get(1) == "done"
    done = sum(other.ready() and other.successful() for other in others)
    assert entry.cancelled >= len(others) - done > 0
    for other in others[done:]:
        with pytest.raises(concurrent.futures.CancelledError):
            other.get(1)


@pytest.mark.skipif(
    is_wine() and sys.version_info < (3, 12),
    reason="Wine: an executor's submit() hangs by itself, waiting for an empty message",
)
@HOWS
def test_an_executor_finishes_what_it_has_begun(how: str, tmp_path: Path) -> None:
    executor = concurrent.futures.ProcessPoolExecutor(1)
    begun = executor.submit(win_peers.take_long, tmp_path / "begun")
    others = [executor.submit(win_peers.take_long, tmp_path / str(n)) for n in range(20)]
    wait_for(tmp_path / "begun")
    entry = clean(executor, how)
    assert begun.result(1) == "done"
    assert entry.cancelled == sum(other.cancelled() for other in others) > 10


@HOWS
def test_a_manager_is_shut_down(how: str) -> None:
    manager = multiprocessing.Manager()
    assert manager.list([1])[0] == 1
    assert clean(manager, how).outcome == "closed"
