"""Corners that servers turn seldom: what is gone, strange or forbidden when it is looked at."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import queue as stdlib_queue
import signal
import subprocess
import sys
from typing import Any

import pytest
import workers

from asgi_mpclean import (
    CleanupReport,
    Registry,
    ResourceReport,
)
from asgi_mpclean._cpython.queues import force_write_lock, items_in_flight
from asgi_mpclean._cpython.semaphores import Snapshot, semaphore_names_of, unlink_semaphores
from asgi_mpclean._items.pipe import PipeReader
from asgi_mpclean._resources.base import Entry
from asgi_mpclean._resources.connection import CONNECTION
from asgi_mpclean._resources.lock import LOCK
from asgi_mpclean._resources.queue import QUEUE
from asgi_mpclean._resources.worker import PROCESS, WorkerCloser
from asgi_mpclean._shutdown import state
from asgi_mpclean._shutdown.log import log
from asgi_mpclean._worker.handle import Handle

SPAWN: Any = multiprocessing.get_context("spawn")


def sleeping_worker(registry: Registry) -> Any:
    ready = registry.register(SPAWN.Event())
    worker = registry.register(SPAWN.Process(target=workers.sleep, args=(ready,), name="sleeper"))
    worker.start()
    assert ready.wait(20)
    return worker


def test_a_process_of_somebody_else_is_left_alone() -> None:
    registry = Registry()
    worker = sleeping_worker(registry)
    worker._parent_pid = -1
    report = registry.clean(timeout=1)
    outcomes = [entry.outcome for entry in report.resources if entry.name == "sleeper"]
    assert outcomes == ["not a child of this process"]
    worker._parent_pid = os.getpid()
    worker.kill()
    worker.join(20)


def test_a_worker_that_nobody_had_time_to_end_is_killed_at_last() -> None:
    registry = Registry()
    worker = sleeping_worker(registry)
    closer = WorkerCloser(worker, ResourceReport("sleeper", "Process"), None)
    closer.give_up()
    assert (closer.report.outcome, worker.exitcode) == ("killed", -signal.SIGKILL)
    registry.clean()


def test_a_worker_that_cannot_be_killed_is_said_to_run(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry()
    worker = sleeping_worker(registry)
    # As one in an uninterruptible system call.
    monkeypatch.setattr(Handle, "send", lambda _self, _signum: None)
    report = registry.clean(timeout=0.5)
    assert [entry.outcome for entry in report.resources] == ["still running"]
    assert report.seconds < 1
    assert "Process sleeper: still running" in caplog.text
    worker.kill()
    worker.join(20)


def test_a_deadline_that_has_passed_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    log(CleanupReport("test", 1.0, 2.0, deadline_passed=True))
    assert "the clean-up took longer than its 1 s" in caplog.text


def test_a_process_that_was_never_started_has_no_sentinel() -> None:
    closer = WorkerCloser(SPAWN.Process(), ResourceReport("new", "Process"), None)
    assert closer.sentinel is None
    assert closer.check_end()


def test_a_handle_that_is_closed_behind_our_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*_args: object) -> None:
        raise OSError(errno.EBADF, "closed")

    registry = Registry()
    worker = sleeping_worker(registry)
    monkeypatch.setattr(multiprocessing.connection, "wait", wait)
    report = registry.clean(timeout=5)
    assert (report.forced, report.deadline_passed) == (1, False)
    assert not worker.is_alive()


def test_a_queue_that_a_worker_reads_too_is_left_to_it() -> None:
    """Its lock is held: what is in the pipe stays there, and does not make the waiting spin."""
    registry, got = Registry(), list[int]()
    queue = registry.register(SPAWN.SimpleQueue(), on_item=got.append)
    worker = sleeping_worker(registry)
    queue.put(1)
    queue._rlock.acquire()
    report = registry.clean(timeout=3)
    assert worker.exitcode == -signal.SIGTERM
    assert (got, report.delivered) == ([1], 1)  # Once the worker had ended, nobody could hold it.


def test_what_is_registered_by_nobody_is_named_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspect.currentframe", lambda: None)
    registry = Registry()
    lock = registry.register(SPAWN.Lock())
    assert lock in registry
    assert registry.clean().resources[0].name == "lock"


def test_disabled_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "DISABLED", True)
    registry = Registry()
    lock = registry.register(SPAWN.Lock())
    assert lock not in registry
    assert registry.clean().resources == []


def test_spent_entries() -> None:
    ended, closed = SPAWN.Process(target=os.getpid), SPAWN.Process(target=os.getpid)
    for process in (ended, closed):
        process.start()
        process.join(20)
    closed.close()
    queue = SPAWN.Queue()
    queue.close()
    connections = SPAWN.Pipe(duplex=False)
    for connection in connections:
        assert not CONNECTION.is_spent(Entry(connection, CONNECTION, ""))
        connection.close()
    spent = [
        Entry(ended, PROCESS, ""),
        Entry(closed, PROCESS, ""),
        Entry(queue, QUEUE, ""),
        Entry(connections[0], CONNECTION, ""),
    ]
    assert all(entry.kind.is_spent(entry) for entry in spent)
    lock = SPAWN.Lock()
    assert not LOCK.is_spent(Entry(lock, LOCK, ""))
    names = [*semaphore_names_of(lock), *semaphore_names_of(queue)]
    unlink_semaphores(Snapshot().claim(names))


def test_a_process_registered_too_late_is_left_as_it_is() -> None:
    registry = Registry()
    registry.begin_shutdown()
    process = SPAWN.Process(target=print)
    with pytest.raises(RuntimeError, match="while a clean-up is under way"):
        registry.register(process)
    registry.end_shutdown()
    assert process.pid is None


class Uncountable(stdlib_queue.Queue):  # type: ignore[type-arg]
    """A queue as on macOS, where the count of a semaphore cannot be had."""

    def qsize(self) -> int:
        """Be of unknown size."""
        raise NotImplementedError


def test_items_that_cannot_be_counted() -> None:
    assert items_in_flight(Uncountable()) is None


def test_a_descriptor_that_cannot_be_read_has_ended() -> None:
    reader, writer = os.pipe()
    with contextlib.closing(PipeReader(lambda: reader)) as pipe:
        assert pipe.read_without_lock()
        os.close(pipe._own_fd or 0)
        pipe._own_fd = writer  # Not open for reading.
        assert pipe.read() == []
        assert pipe.ended
    os.close(reader)


def test_a_descriptor_that_is_closed_has_nothing_to_read() -> None:
    pipe = PipeReader(lambda: None)
    assert pipe.read() == []
    assert pipe.has_ended()


def test_no_write_lock_to_be_forced() -> None:
    queue = SPAWN.Queue()
    assert not force_write_lock(queue)
    queue._wlock.acquire()
    assert force_write_lock(queue)
    assert not force_write_lock(object())
    unlink_semaphores(Snapshot().claim(semaphore_names_of(queue)))


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
@pytest.mark.parametrize("byte", [b"\0", b"x", b"\xff"], ids=["short", "long", "no length"])
@pytest.mark.parametrize("size", [2, 4, 100])
def test_items_behind_one_that_a_dead_reader_had_begun_are_counted(
    kind: str, byte: bytes, size: int
) -> None:
    registry, got = Registry(), list[object]()
    queue = registry.register(getattr(SPAWN, kind)(), on_item=got.append)
    for _ in range(10):
        queue.put(byte * 1000)
    reader = SPAWN.Process(target=workers.die_reading, args=(queue, size))
    reader.start()
    reader.join(20)
    report = registry.clean(timeout=2)
    # A SimpleQueue does not count its items.
    assert (got, report.dropped) == ([], 1 if kind == "SimpleQueue" else 10)
    assert not report.deadline_passed


def test_an_item_that_never_ends_is_not_waited_for() -> None:
    registry = Registry()
    queue, ready = registry.register(SPAWN.Queue()), registry.register(SPAWN.Event())
    worker = registry.register(SPAWN.Process(target=workers.endless_frame, args=(queue, ready)))
    worker.start()
    assert ready.wait(20)
    report = registry.clean(timeout=1)
    assert (worker.exitcode, report.dropped) == (-signal.SIGTERM, 1)
    assert report.seconds < 2


TRACKER_DIES = """
import asgi_mpclean, multiprocessing, os, signal, warnings
from multiprocessing import resource_tracker
warnings.simplefilter("ignore")
context = multiprocessing.get_context("spawn")
lock = asgi_mpclean.register(context.Lock())
os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)
while resource_tracker._resource_tracker._check_alive():
    pass
other = asgi_mpclean.register(context.Lock())
print(asgi_mpclean.clean().semaphores)
"""


def test_a_tracker_that_took_the_place_of_a_dead_one_does_not_complain() -> None:
    command = [sys.executable, "-c", TRACKER_DIES]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert (result.stdout, result.stderr) == ("2\n", "")
