"""Private names that are missing, or look unusual: the branches for that, each forced once."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import multiprocessing.forkserver  # Others load it before, or not.
import multiprocessing.pool
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import subprocess
import sys
import threading
import types
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import workers
from feeders import filled

from asgi_mpclean import Registry
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._cpython import helpers, making, memory, tracker, waiting
from asgi_mpclean._cpython.children import when_worker_forked
from asgi_mpclean._cpython.discovery import threads_in_get
from asgi_mpclean._cpython.endings import threads_waited_for
from asgi_mpclean._cpython.executors import begin_executor_shutdown
from asgi_mpclean._cpython.features import AVAILABLE, Feature
from asgi_mpclean._cpython.frames import waits_for_threads
from asgi_mpclean._cpython.groups import _pools_in_terminate, pools_and_managers
from asgi_mpclean._cpython.helpers import remove_files, stop_helpers
from asgi_mpclean._cpython.log_queues import queues_of_listeners
from asgi_mpclean._cpython.making import is_making_something
from asgi_mpclean._cpython.memory import shared_memory_made_here
from asgi_mpclean._cpython.pools import pool_is_busy
from asgi_mpclean._cpython.queues import _sending
from asgi_mpclean._cpython.semaphores import Snapshot, semaphore_names_of, unlink_semaphores
from asgi_mpclean._cpython.waiting import results_awaited
from asgi_mpclean._exec.exec import make_ready
from asgi_mpclean._items.pipe import PipeReader
from asgi_mpclean._shutdown import state
from asgi_mpclean._shutdown.request import Request
from asgi_mpclean._shutdown.triggers import clean_up

if TYPE_CHECKING:
    from collections.abc import Callable

SPAWN: Any = multiprocessing.get_context("spawn")
FORK: Any = multiprocessing.get_context("fork")


# Private names ----------------------------------------------------------------------------------


def test_what_pypy_believes_to_be_registered_is_not_told_to_a_new_tracker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock, known = SPAWN.Lock(), multiprocessing.resource_tracker._resource_tracker
    (name,) = semaphore_names_of(lock)
    believed = {name: "semaphore", "/another": "semaphore"}
    monkeypatch.setattr(known, "_registered", believed, raising=False)
    assert unlink_semaphores(Snapshot().claim([name])) == 1
    assert believed == {"/another": "semaphore"}


class NoOwner(multiprocessing.queues.SimpleQueue):  # type: ignore[type-arg]
    """A subclass that cannot be asked who made it."""

    @property
    def _opid(self) -> int:
        raise OSError


def test_a_queue_that_cannot_even_be_looked_at_does_not_stop_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry, got = Registry(), list[int]()
    strange = registry.register(NoOwner(ctx=SPAWN), name="strange")
    filled(registry, got.append)
    registry.clean()
    assert got == [0]
    assert "queue strange: clean-up failed" in caplog.text
    unlink_semaphores(Snapshot().claim(semaphore_names_of(strange)))


@pytest.mark.parametrize("without", [Feature.FRAMES, Feature.CHILDREN], indirect=True)
def test_without_a_feature_nothing_is_seen_being_made(
    without: Feature, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_is_inside", lambda _frame, _makers: True)
    assert not is_making_something()
    AVAILABLE.add(without)
    assert is_making_something()


@pytest.mark.parametrize("without", [Feature.HELPERS], indirect=True)
def test_without_a_feature_helpers_are_left_alone(without: Feature) -> None:
    lock = SPAWN.Lock()  # It starts the tracker.
    tracker: Any = multiprocessing.resource_tracker._resource_tracker
    pid = tracker._pid
    remove_files(0)
    stop_helpers(0)
    assert without is Feature.HELPERS
    assert tracker._pid == pid
    os.kill(pid, 0)
    unlink_semaphores(Snapshot().claim(semaphore_names_of(lock)))


LOOKS: dict[str, Callable[[], object]] = {
    "threads_in_get": threads_in_get,
    "queues_of_listeners": queues_of_listeners,
    "_pools_in_terminate": _pools_in_terminate,
    "threads_waited_for": threads_waited_for,
    "_sending": lambda: list(_sending()),
    "results_awaited": lambda: results_awaited(by_daemons=True),
}


@pytest.mark.parametrize("name", LOOKS)
def test_what_a_look_at_the_threads_has_found_does_not_outlive_it(name: str) -> None:
    """Two threads that look at each other would make a cycle of their frames."""
    kept = list[types.FrameType]()

    def keep(frame: types.FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_name == name:
            kept.append(frame)

    reader, writer = SPAWN.Pipe(duplex=False)
    other = threading.Thread(target=reader.recv, daemon=True)
    other.start()
    assert eventually(lambda: any(_sending()), 10)  # A call of a connection, be it to read.
    sys.setprofile(keep)
    try:
        LOOKS[name]()
    finally:
        sys.setprofile(None)
    writer.send(None)
    other.join()
    assert kept
    found = [
        value
        for frame in kept
        for value in frame.f_locals.values()
        if isinstance(value, types.FrameType)
    ]
    assert found == []


def test_a_helper_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    helper = types.SimpleNamespace(fd=writer, pid=process.pid)
    assert not helpers._stop_helper(helper, "fd", "pid", 0.01)
    assert (helper.fd, helper.pid) == (None, None)
    monkeypatch.setattr(helpers, "_stop_helper", lambda *_args: False)
    folder = multiprocessing.util.get_temp_dir()
    remove_files(0)
    assert Path(folder).is_dir()  # Its socket is there while the fork server is.
    process.communicate(b"\n", timeout=20)
    os.close(reader)


@pytest.mark.parametrize("without", [Feature.JOINING, Feature.FORKED_WORKERS], indirect=True)
def test_without_a_feature_nobody_is_told_of_a_workers_moments(
    without: Feature, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits() -> bool:
        return waits_for_threads(sys._getframe())

    monkeypatch.setattr(threading, "_shutdown", waits)
    assert waits() == (without is not Feature.JOINING)
    hooks = multiprocessing.util._afterfork_registry  # type: ignore[attr-defined]
    owner = threading.Event()
    when_worker_forked(owner, print)
    assert (owner in hooks.values()) == (without is not Feature.FORKED_WORKERS)


def test_who_waits_without_a_caller_is_nobodys() -> None:
    assert not waiting._is_of_multiprocessing(None)


def test_two_locks_of_the_fork_context_are_looked_up_at_once() -> None:
    registry = Registry()
    locks = [registry.register(FORK.Lock()) for _ in range(2)]
    assert list(registry) == locks
    assert [entry.outcome for entry in registry.clean().resources] == ["unlinked"] * 2


def test_many_names_are_told_to_the_tracker_in_whole_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(multiprocessing.resource_tracker._resource_tracker, "_fd", writer)
    names = [f"/mp-{number:0250}" for number in range(40)]
    sizes: list[int] = []
    write = os.write

    def note(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        assert data.endswith(b":semaphore\n")
        return write(fd, data)

    monkeypatch.setattr(os, "write", note)
    tracker.unregister(names, "semaphore")
    lines = os.read(reader, 64 * 1024).decode().splitlines()
    assert lines == [f"UNREGISTER:{name}:semaphore" for name in names]
    assert max(sizes) <= tracker.ATOMIC_WRITE_BYTES
    for end in (reader, writer):
        os.close(end)


def test_a_pipe_that_has_ended_is_not_read_again() -> None:
    reader, writer = os.pipe()
    with contextlib.closing(PipeReader(lambda: reader)) as pipe:
        pipe.ended = True
        os.write(writer, b"\0\0\0\1x")
        assert pipe.read() == []
    for end in (reader, writer):
        os.close(end)


def test_disabled_nothing_is_cleaned_before_an_exec(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, got = Registry(), list[int]()
    queue = filled(registry, got.append)
    monkeypatch.setattr(state, "DISABLED", True)
    make_ready()
    assert (got, queue in registry) == ([], True)
    monkeypatch.undo()
    assert registry.clean().delivered == 1


# Shared memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("unlinked", [False, True], ids=["", "unlinked"])
@pytest.mark.parametrize("closed", [False, True], ids=["", "closed"])
def test_without_a_private_module_memory_is_unlinked_all_the_same(
    unlinked: bool, closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_posixshmem", None)
    block = SharedMemory(create=True, size=10)
    if closed:
        block.close()
    if unlinked:
        block.unlink()
    registry = Registry()
    registry.register(block)
    assert registry.clean().resources[0].outcome == ("already unlinked" if unlinked else "unlinked")
    with pytest.raises(FileNotFoundError):
        SharedMemory(name=block.name)


def test_memory_that_is_closed_and_gone_is_no_error() -> None:
    block = SharedMemory(create=True, size=10)
    block.close()
    block.unlink()
    registry = Registry()
    registry.register(block)
    assert registry.clean().resources[0].outcome == "already unlinked"


def test_where_mappings_cannot_be_read_memory_is_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_args: object, **_options: object) -> str:
        raise OSError

    block = SharedMemory(create=True, size=10)
    monkeypatch.setattr(Path, "read_text", fail)
    assert shared_memory_made_here() == [block]
    block.close()
    block.unlink()


# Pools and executors ----------------------------------------------------------------------------


def test_an_executor_that_has_shut_down_has_nobody_to_wake() -> None:
    with concurrent.futures.ProcessPoolExecutor(1, SPAWN) as executor:
        executor.submit(os.getpid).result(20)
    assert begin_executor_shutdown(executor) is None


def test_an_executor_whose_lock_is_held_is_told_all_the_same() -> None:
    with concurrent.futures.ProcessPoolExecutor(1, SPAWN) as executor:
        executor.submit(os.getpid).result(20)
        held: Any = executor
        with held._shutdown_lock:
            thread = begin_executor_shutdown(executor)
    assert thread is not None
    thread.join(20)
    assert not thread.is_alive()


def test_a_pool_that_another_thread_is_terminating_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = SPAWN.Pool(1)
    inside, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        go_on.wait(20)

    with monkeypatch.context() as patched:
        # As a `terminate` leaves it that has taken its finalizer out and cannot get on.
        patched.delitem(multiprocessing.util._finalizer_registry, pool._terminate._key)  # type: ignore[attr-defined]
        patched.setattr(pool, "_terminate", wait)
        terminating = threading.Thread(target=pool.terminate)
        terminating.start()
        assert inside.wait(20)
        found = pools_and_managers()
        go_on.set()
        terminating.join(20)
    assert pool in found
    with Registry() as registry:
        registry.register(pool)


@pytest.mark.parametrize("going_away", [False, True])
def test_a_terminate_that_ctrl_c_has_cut_short_is_gone_on_with_at_once(
    going_away: bool, tmp_path: Path
) -> None:
    pool, begun, registry = SPAWN.Pool(1), tmp_path / "begun", Registry()
    registry.register(pool)
    pool.apply_async(workers.begin_and_sleep, (str(begun), 600))
    assert eventually(begun.exists, 30)
    pool._state = multiprocessing.pool.TERMINATE  # All that `terminate` had done.
    report = clean_up(Request("test", 60, (registry,), going_away=going_away))
    assert not multiprocessing.active_children()
    assert report.seconds < 30
    if not going_away:  # Else it ends with the process.
        pool.join()


def test_a_pool_that_is_ended_by_force_starts_nobody_in_the_place_of_its_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pool, begun = SPAWN.Pool(1), tmp_path / "begun"
    pool.apply_async(workers.begin_and_sleep, (str(begun), 600))
    assert eventually(begun.exists, 30)
    (worker,), terminate = multiprocessing.active_children(), pool.terminate

    def terminate_later() -> None:
        worker.join(20)
        # It starts another one now, or ends.
        assert eventually(lambda: last_number() > before or not pool_is_busy(pool), 20)
        terminate()

    asked = itertools.count()

    def last_number() -> int:
        """Return how many processes have been made, but for those made to ask this."""
        return int(SPAWN.Process().name.rpartition("-")[2]) - next(asked)

    before = last_number()
    monkeypatch.setattr(pool, "terminate", terminate_later)
    registry = Registry()
    registry.register(pool)
    assert not registry.clean(10).deadline_passed
    assert last_number() == before
