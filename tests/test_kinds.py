"""Managers, shared memory, connections, listeners, and kinds that somebody adds."""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import multiprocessing.connection
import multiprocessing.managers
import multiprocessing.shared_memory
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.shared_memory import ShareableList, SharedMemory
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import workers

import asgi_mpclean
from asgi_mpclean import Registry, add_kind
from asgi_mpclean._cpython.features import AVAILABLE, Feature
from asgi_mpclean._resources.kinds import KINDS
from asgi_mpclean._resources.manager import wait_for_exitcode
from asgi_mpclean._shutdown.discovery import find_unregistered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asgi_mpclean import ResourceReport

SPAWN: Any = multiprocessing.get_context("spawn")
TIMEOUT = 4.0
HOWS = pytest.mark.parametrize("how", ["registered", "discovered"])


def clean(resource: Any, how: str = "registered", **options: Any) -> ResourceReport:
    """Clean up something that was registered, or that is found."""
    registry = Registry()
    if how == "registered":
        registry.register(resource, name="it", **options)
    report = registry.clean(TIMEOUT, discover=how == "discovered")
    assert not report.deadline_passed
    (entry,) = report.resources
    assert entry.registered == (how == "registered")
    return entry


# Managers ---------------------------------------------------------------------------------------


@HOWS
def test_a_manager_is_shut_down(how: str, method: str) -> None:
    manager = multiprocessing.get_context(method).Manager()
    shared = manager.dict(answer=42)
    assert shared["answer"] == 42
    report = clean(manager, how)
    assert (report.outcome, report.exitcode) == ("closed", 0)
    assert not multiprocessing.active_children()


def test_a_manager_that_does_not_answer_is_killed() -> None:
    manager = SPAWN.Manager()
    os.kill(manager._process.pid, signal.SIGSTOP)
    assert clean(manager).outcome == "killed"
    assert not multiprocessing.active_children()


def test_how_a_manager_ended_is_known_whoever_has_reaped_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread of its own `shutdown` may have, and not be at the point of noting it."""
    waitpid, reaped = os.waitpid, threading.Event()

    def reap_and_dawdle(pid: int, flags: int) -> tuple[int, int]:
        if threading.current_thread() is threading.main_thread():
            reaped.wait(20)
            return waitpid(pid, flags)
        found = waitpid(pid, flags)
        reaped.set()
        time.sleep(0.05)
        return found

    monkeypatch.setattr(os, "waitpid", reap_and_dawdle)
    server = SPAWN.Process(target=time.sleep, args=(60,))
    server.start()
    shutdown = threading.Thread(target=server.join)
    shutdown.start()
    server.kill()
    wait_for_exitcode(server)
    assert server.exitcode == -signal.SIGKILL
    shutdown.join()


def test_a_manager_serves_the_workers_to_their_end() -> None:
    registry = Registry()
    manager = registry.register(SPAWN.Manager())
    shared, asked = manager.dict(), manager.Event()
    ready = registry.register(SPAWN.Event())
    worker = registry.Process(
        target=workers.write_when_asked, args=(ready, asked, shared), ctx=SPAWN, stop=asked.set
    )
    worker.start()
    assert ready.wait(30)
    report = registry.clean(TIMEOUT)
    outcomes = {entry.kind: entry.outcome for entry in report.resources}
    assert outcomes == {"SyncManager": "closed", "Event": "unlinked", "Process": "joined"}
    assert worker.exitcode == 0  # It has written its answer, and did not fail.


def never_started() -> Any:
    return multiprocessing.managers.SyncManager()


def shut_down() -> Any:
    manager = SPAWN.Manager()
    manager.shutdown()
    return manager


@pytest.mark.parametrize(
    ("make", "outcome"), [(never_started, "not started"), (shut_down, "already closed")]
)
def test_a_manager_that_does_not_run(make: Callable[[], Any], outcome: str) -> None:
    assert clean(make()).outcome == outcome


# Shared memory ----------------------------------------------------------------------------------


def block() -> Any:
    return SharedMemory(create=True, size=1000)


def shareable_list() -> Any:
    return ShareableList([1, 2.0, "three"])


def name_of(resource: Any) -> str:
    return str(getattr(resource, "shm", resource).name)


@HOWS
@pytest.mark.parametrize("make", [block, shareable_list])
def test_who_made_shared_memory_unlinks_it(make: Callable[[], Any], how: str) -> None:
    gc.collect()  # What other tests have dropped would be found, where nothing counts references.
    memory = make()
    assert clean(memory, how).outcome == "unlinked"
    with pytest.raises(FileNotFoundError):
        SharedMemory(name=name_of(memory))


@pytest.mark.parametrize("make", [block, shareable_list])
def test_who_attached_closes_it(make: Callable[[], Any]) -> None:
    memory = make()
    attached: Any = (
        ShareableList(name=memory.shm.name)
        if isinstance(memory, ShareableList)
        else SharedMemory(name=memory.name)
    )
    assert clean(attached).outcome == "copy closed"
    assert memory[0] == 1 if isinstance(memory, ShareableList) else memory.buf[0] == 0
    assert clean(memory).outcome == "unlinked"


def test_shared_memory_that_is_unlinked_already() -> None:
    memory = block()
    memory.unlink()
    assert clean(memory).outcome == "already unlinked"


@HOWS
@pytest.mark.parametrize("closed", ["before", "after", "never"])
@pytest.mark.parametrize("unlinked", [True, False])
def test_a_later_block_of_the_same_name_is_not_unlinked(
    how: str, closed: str, unlinked: bool
) -> None:
    """`closed` by the app before the library has seen the block, afterwards, or not at all."""
    name = f"mpclean_{os.getpid()}_{how}_{closed}_{unlinked}"
    first, registry = SharedMemory(name, create=True, size=1000), Registry()
    other = block()  # Something is mapped, so that closed ones are looked for.
    if closed == "before":
        first.close()
    found = registry.register(first) if how == "registered" else find_unregistered()
    if closed == "after":
        first.close()
    if unlinked:
        first.unlink()
        make = "from multiprocessing.shared_memory import *; SharedMemory({!r}, True, 1000)"
        with_no_tracker = "import multiprocessing.resource_tracker as t; t.register = print;"
        subprocess.run([sys.executable, "-c", with_no_tracker + make.format(name)], check=True)
    registry.clean(TIMEOUT, discover=how == "discovered")
    clean(other)
    del found
    unseen = how == "discovered" and closed == "before"
    assert Path(f"/dev/shm/{name}").exists() == (unlinked or unseen)
    if unlinked or unseen:
        SharedMemory(name).unlink()


def test_shared_memory_of_which_the_app_has_a_view() -> None:
    memory = block()
    view = memory.buf[:10]
    report = clean(memory)
    assert report.outcome == "unlinked"
    assert report.in_use
    assert report.error is None
    view.release()
    memory.close()


def test_a_fork_leaves_the_memory_of_its_parent_alone() -> None:
    memory = asgi_mpclean.register(block())
    ours, theirs = multiprocessing.Pipe()
    fork: Any = multiprocessing.get_context("fork")
    for target in (workers.clean_registered, workers.clean_discovered):
        child = fork.Process(target=target, args=(memory, theirs))
        child.start()
        assert ours.poll(20)
        assert set(ours.recv()) <= {"copy closed"}
        child.join(20)
    SharedMemory(name=memory.name).close()
    assert [entry.outcome for entry in asgi_mpclean.clean().resources] == ["unlinked"]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="track= is new in Python 3.13")
def test_memory_that_python_does_not_track_is_not_discovered() -> None:
    memory: Any = SharedMemory(create=True, size=10, track=False)  # type: ignore[call-arg]
    assert Registry().clean(TIMEOUT, discover=True).resources == []
    assert clean(memory).outcome == "unlinked"


@pytest.mark.parametrize("feature", [Feature.SHARED_MEMORY, Feature.TRACKER])
def test_without_a_feature_shared_memory_does_no_harm(feature: Feature) -> None:
    memory = block()
    AVAILABLE.discard(feature)
    try:
        outcome = clean(memory).outcome
    finally:
        AVAILABLE.add(feature)
    if feature is Feature.SHARED_MEMORY:  # Nobody knows who made it.
        assert outcome == "copy closed"
        memory.unlink()
    else:
        assert outcome == "unlinked"


# Connections and listeners ----------------------------------------------------------------------


@pytest.mark.parametrize("duplex", [False, True])
def test_what_a_connection_has_not_received_is_delivered(duplex: bool) -> None:
    reader, writer = multiprocessing.Pipe(duplex)
    for number in range(20):
        writer.send(number)
    got: list[int] = []
    report = clean(reader, on_item=got.append)
    assert got == list(range(20))
    assert (report.outcome, report.delivered, reader.closed) == ("closed", 20, True)
    assert clean(writer).outcome == "closed"


def test_what_nobody_wants_of_a_connection_is_counted() -> None:
    reader, writer = multiprocessing.Pipe(duplex=False)
    writer.send("message")
    os.write(writer.fileno(), b"\0\0\0\7torn")
    report = clean(reader)
    assert (report.outcome, report.dropped) == ("closed", 2)
    writer.close()


def test_a_connection_that_is_closed_already() -> None:
    for end in multiprocessing.Pipe():
        end.close()
        assert clean(end).outcome == "already closed"


def test_a_listener_is_closed_and_its_socket_removed() -> None:
    listener = multiprocessing.connection.Listener(family="AF_UNIX")
    path = Path(str(listener.address))
    client = multiprocessing.connection.Client(listener.address)
    accepted = listener.accept()
    registry = Registry()
    for resource in (listener, client, accepted):
        registry.register(resource)
    assert registry.clean(TIMEOUT).closed == 3
    assert not path.exists()


# A kind of somebody else's ----------------------------------------------------------------------


class Ring:
    """Stands for a third party's queue in shared memory."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.closed = threading.Event()


def close_ring(ring: Ring, seconds: float) -> list[Any]:
    """Close it, and return what was in it."""
    assert 0 < seconds <= TIMEOUT
    ring.closed.set()
    return ring.items


@pytest.fixture
def added() -> Iterator[None]:
    """Forget the kinds that a test adds."""
    before = list(KINDS)
    yield
    KINDS[:] = before


@pytest.mark.usefixtures("added")
def test_a_kind_is_added_in_one_function() -> None:
    add_kind(Ring, close_ring)
    got: list[int] = []
    ring = Ring(1, 2, 3)
    report = clean(ring, on_item=got.append)
    assert got == [1, 2, 3]
    assert (report.outcome, report.kind, report.delivered) == ("closed", "Ring", 3)
    assert clean(Ring(1, 2)).dropped == 2


def fail(_ring: Ring, _seconds: float) -> None:
    message = "it is stuck"
    raise ValueError(message)


def block_for_ever(ring: Ring, _seconds: float) -> None:
    ring.closed.wait(60)


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize(
    ("close", "outcome"),
    [(close_ring, "closed"), (fail, "failed"), (block_for_ever, "still running")],
)
def test_a_close_that_fails_or_blocks(close: Callable[[Ring, float], Any], outcome: str) -> None:
    add_kind(Ring, fail)
    add_kind(Ring, close)  # The last one counts.
    registry, ring = Registry(), Ring()
    registry.register(ring)
    report = registry.clean(1)
    assert [entry.outcome for entry in report.resources] == [outcome]
    assert report.seconds < 2
    ring.closed.set()


@pytest.mark.usefixtures("added")
def test_a_kind_comes_before_what_it_extends() -> None:
    class Own(SharedMemory):
        """Is shared memory, and more than that."""

    closed: list[Own] = []
    add_kind(Own, lambda own, _: closed.append(own))
    memory = Own(create=True, size=10)
    assert clean(memory).outcome == "closed"
    assert closed == [memory]
    memory.close()
    memory.unlink()


@pytest.mark.parametrize(
    ("cls", "close", "words"),
    [
        ("Ring", print, "cls must be a class, not 'Ring'"),
        (Ring, 1, "close must be callable, not 1"),
    ],
)
def test_a_kind_that_is_none(cls: Any, close: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        add_kind(cls, close)


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (block, "on_item"),
        (block, "stop"),
        (never_started, "stop"),
        (concurrent.futures.ProcessPoolExecutor, "on_item"),
    ],
)
def test_options_that_do_not_fit(make: Callable[[], Any], option: str) -> None:
    resource, options = make(), dict[str, Any]([(option, print)])
    with pytest.raises(ValueError, match=f"{option}= is for these kinds"):
        Registry().register(resource, **options)
    if isinstance(resource, SharedMemory):
        clean(resource)


def test_what_comes_too_late_is_closed() -> None:
    registry = Registry()
    registry.begin_shutdown()
    memory, (reader, writer) = block(), multiprocessing.Pipe()
    for resource in (memory, reader, writer):
        with pytest.raises(RuntimeError, match="it was closed"):
            registry.register(resource)
    assert reader.closed
    with pytest.raises(FileNotFoundError):
        SharedMemory(name=memory.name)
    registry.end_shutdown()
