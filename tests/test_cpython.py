"""Each private name of CPython, and that the clean-up works without each of them."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - its names are looked for
import contextlib
import gc
import importlib
import logging.handlers  # noqa: F401 - the same
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.managers
import multiprocessing.pool
import multiprocessing.resource_tracker
import multiprocessing.shared_memory
import os
import sys
import threading
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import workers
from feeders import wait_until_taken

from asgi_mpclean import Registry
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._cpython.children import is_child
from asgi_mpclean._cpython.discovery import threads_in_get
from asgi_mpclean._cpython.exit import run_exit_functions
from asgi_mpclean._cpython.features import (
    AVAILABLE,
    ELSEWHERE,
    NAMES,
    Feature,
    has_name,
    is_complete,
)
from asgi_mpclean._cpython.groups import pools_and_managers
from asgi_mpclean._cpython.loaded import find
from asgi_mpclean._cpython.making import is_making_something
from asgi_mpclean._cpython.queues import close_queue, leave_feeder
from asgi_mpclean._cpython.semaphores import Snapshot, semaphore_names_of, unlink_semaphores
from asgi_mpclean._cpython.waiting import waiting_for_end
from asgi_mpclean._items.pipe import FrameParser, PipeReader, bytes_in_pipe

if TYPE_CHECKING:
    from collections.abc import Callable

SPAWN = multiprocessing.get_context("spawn")

FEATURES = [feature for feature in Feature if feature not in ELSEWHERE]
ALL_NAMES = [
    (feature, path, name)
    for feature, rows in NAMES.items()
    if feature in FEATURES
    for path, names in rows.items()
    for name in names.split()
]
for _feature, path, _name in ALL_NAMES:  # The library looks only at what somebody has imported.
    importlib.import_module(path.partition(":")[0])


@pytest.mark.parametrize(("feature", "path", "name"), ALL_NAMES)
def test_the_name_is_there_in_this_python(feature: Feature, path: str, name: str) -> None:
    assert has_name(find(path), name)
    assert feature in AVAILABLE


@pytest.mark.parametrize(("feature", "path", "name"), ALL_NAMES)
def test_a_missing_name_switches_its_feature_off(
    feature: Feature, path: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = NAMES[feature][path].replace(name, "_gone_in_a_later_python")
    monkeypatch.setitem(NAMES, feature, NAMES[feature] | {path: gone})
    assert not is_complete(feature)
    assert all(is_complete(other) for other in FEATURES if other is not feature)


def test_nothing_is_known_of_a_module_that_nobody_has_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "multiprocess.pool", raising=False)  # The copy with dill.
    monkeypatch.delitem(sys.modules, "multiprocessing.pool")
    assert is_complete(Feature.POOLS) is None
    AVAILABLE.add(Feature.POOLS)
    assert Feature.POOLS not in AVAILABLE
    monkeypatch.undo()
    assert Feature.POOLS in AVAILABLE


@pytest.mark.parametrize("without", FEATURES, indirect=True, ids=lambda f: f.name)
@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_without_a_feature_the_items_are_delivered_all_the_same(
    without: Feature, kind: str
) -> None:
    got: list[int] = []
    registry = Registry()
    queue = registry.register(getattr(SPAWN, kind)(), on_item=got.append)
    for number in range(20):
        queue.put(number)
    if without is Feature.BACKLOG and kind != "SimpleQueue":
        # Python has no public way to take an unsent item back: it is sent first, or lost.
        wait_until_taken(queue)
    report = registry.clean(timeout=3)
    assert got == list(range(20))
    assert (report.delivered, report.dropped, report.closed) == (20, 0, 1)
    assert not report.deadline_passed
    if without is Feature.SEMAPHORES:
        assert report.semaphores == 0
    else:
        assert report.semaphores == {"Queue": 3, "JoinableQueue": 8, "SimpleQueue": 2}[kind]


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("without", FEATURES, indirect=True, ids=lambda f: f.name)
def test_without_a_feature_workers_are_ended_all_the_same() -> None:
    registry = Registry()
    ready = registry.register(SPAWN.Event())
    worker = registry.register(SPAWN.Process(target=workers.sleep, args=(ready,)))
    own = registry.Process(target=workers.sleep, args=(ready,))
    worker.start()
    own.start()
    assert ready.wait(20)
    report = registry.clean(timeout=3)
    assert report.forced == 2
    assert not worker.is_alive()
    assert not own.is_alive()


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("without", FEATURES, indirect=True, ids=lambda f: f.name)
def test_without_a_feature_an_unused_sentinel_is_no_item() -> None:
    registry = Registry()
    jobs = registry.register(SPAWN.Queue())
    results = registry.register(SPAWN.Queue())
    registry.Process(
        target=workers.echo, args=(jobs, results), ctx=SPAWN, stop=lambda: put_twice(jobs, None)
    ).start()
    jobs.put(1)
    assert results.get(timeout=20) == 1
    report = registry.clean(timeout=3)
    assert (report.joined, report.dropped) == (1, 0)


def put_twice(queue: Any, item: object) -> None:
    queue.put(item)
    queue.put(item)


@pytest.mark.parametrize("without", FEATURES, indirect=True, ids=lambda f: f.name)
def test_without_a_feature_discovery_does_no_harm(without: Feature) -> None:
    queue = SPAWN.Queue()
    queue.put(1)
    wait_until_taken(queue)
    report = Registry().clean(timeout=3, discover=True)
    assert report.dropped == (0 if without is Feature.DISCOVERY else 1)
    leave_feeder(queue, forget=False)
    close_queue(queue, 1)
    unlink_semaphores(Snapshot().claim(semaphore_names_of(queue)))


@pytest.mark.parametrize("without", FEATURES, indirect=True, ids=lambda f: f.name)
def test_without_a_feature_a_fork_and_a_look_for_readers_are_no_error(without: Feature) -> None:
    queue: Any = SPAWN.SimpleQueue()
    reader = threading.Thread(target=queue.get)
    reader.start()
    until = time.monotonic() + 10
    while not queue._rlock._semlock._is_zero() and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(0.01)  # From the lock into the read.
    found = threads_in_get()
    assert found == ({} if without is Feature.FRAMES else {id(queue): [reader]})
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    queue.put(None)
    reader.join(10)
    unlink_semaphores(Snapshot().claim(semaphore_names_of(queue)))


@pytest.mark.parametrize("without", [Feature.FRAMES, Feature.PIPE], indirect=True)
@pytest.mark.parametrize(
    ("wait", "in_event_loop", "waits"),
    [
        (lambda process, _reader: process.join(), False, True),
        (lambda process, _reader: process.join(), True, True),
        (lambda _process, reader: reader.recv(), False, False),
        (lambda _process, reader: reader.recv(), True, True),
    ],
    ids=["join", "join in the event loop", "recv", "recv in the event loop"],
)
def test_without_frames_nobody_knows_that_the_app_waits(
    without: Feature, wait: Callable[[Any, Any], None], in_event_loop: bool, waits: bool
) -> None:
    reader, writer = SPAWN.Pipe(duplex=False)
    asked = SPAWN.Event()
    process = SPAWN.Process(target=workers.wait_for, args=(asked,))
    process.start()
    waiting = threading.Thread(target=wait, args=(process, reader))
    waiting.start()
    event_loop = waiting.ident if in_event_loop else threading.get_ident()
    expected = waits and without is not Feature.FRAMES
    assert eventually(lambda: bool(waiting_for_end(event_loop or 0)) == expected, 5)
    asked.set()
    writer.send(None)
    waiting.join()
    process.join()
    assert not waiting_for_end(event_loop or 0)


def test_without_a_feature_a_process_keeps_its_context() -> None:
    AVAILABLE.discard(Feature.CHILDREN)
    registry = Registry()
    try:
        process = registry.Process(target=os.getpid, ctx=SPAWN)
        assert is_child(process)
        process.start()
        process.join(20)
        assert is_child(process)
        process.close()
        assert not is_child(process)
    finally:
        AVAILABLE.add(Feature.CHILDREN)
        registry.clean()


# The pipe without /proc -------------------------------------------------------------------------


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be on a system without /proc, or out of descriptors."""

    def fail(*_args: object) -> int:
        msg = "no /proc here"
        raise OSError(msg)

    monkeypatch.setattr(os, "open", fail)


@pytest.mark.usefixtures("no_proc")
def test_without_proc_a_lock_whose_holder_is_dead_keeps_no_items() -> None:
    """It is read as it is, once nobody has read it for so long that nobody is about to."""
    got: list[int] = []
    registry = Registry()
    queue: Any = registry.register(SPAWN.Queue(), on_item=got.append)
    queue._rlock.acquire()
    for number in range(3):
        queue.put(number)
    wait_until_taken(queue)
    report = registry.clean(timeout=2)
    assert (got, report.delivered, report.dropped) == ([0, 1, 2], 3, 0)
    assert report.seconds < 1


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize(("count", "size"), [(0, 1), (2000, 1024), (2, 1 << 20)])
def test_without_proc_everything_is_delivered(count: int, size: int) -> None:
    got: list[tuple[int, bytes]] = []
    registry = Registry()
    queue = registry.register(SPAWN.Queue(), on_item=got.append)
    for number in range(count):
        queue.put((number, b"x" * size))
    report = registry.clean()
    assert [number for number, _ in got] == list(range(count))
    assert report.delivered == count


@pytest.mark.parametrize(
    ("data", "frames", "torn"),
    [
        (b"", [], False),
        (b"\0\0\0\1a", [b"a"], False),
        (b"\0\0\0\0", [b""], False),
        (b"\0\0\0\1a\0\0\0\2bc", [b"a", b"bc"], False),
        (b"\0\0\0\1a\0\0", [b"a"], True),
        (b"\0\0\0\2a", [], True),
        (b"\xff\xff\xff\xff\0\0\0\0\0\0\0\3abc", [b"abc"], False),
        (b"\xff\xff\xff\xff\0\0\0\0", [], True),
    ],
)
def test_frames(data: bytes, frames: list[bytes], torn: bool) -> None:
    whole = FrameParser()
    assert (whole.feed(data), whole.torn) == (frames, torn)
    single = FrameParser()
    split = [frame for byte in data for frame in single.feed(bytes([byte]))]
    assert (split, single.torn) == (frames, torn)


def test_what_makes_no_sense_is_thrown_away() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"\0\0\0\4\x80\4N.\xff\xff\xff\x00garbage")
    with contextlib.closing(PipeReader(lambda: reader)) as pipe:
        assert pipe.read_without_lock()
        assert pipe.read() == [b"\x80\4N."]
        assert pipe.corrupt
        os.write(writer, b"\0\0\0\4\x80\4N.")
        assert pipe.read() == []
        assert bytes_in_pipe(reader) == 0
        assert not pipe.torn
    os.close(writer)
    os.close(reader)


def test_a_pipe_without_writers_has_ended() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"\0\0\0\1a")
    os.close(writer)
    with contextlib.closing(PipeReader(lambda: reader)) as pipe:
        assert bytes_in_pipe(reader) == 5
        assert pipe.read() == [b"a"]
        assert pipe.read() == []
        assert pipe.has_ended()
    os.close(reader)
    assert bytes_in_pipe(reader) == 0


# Semaphores and the resource tracker ------------------------------------------------------------


def test_a_semaphore_already_unlinked_is_unregistered_all_the_same(
    capfd: pytest.CaptureFixture[str],
) -> None:
    registry = Registry()
    lock = registry.register(SPAWN.Lock())
    (name,) = semaphore_names_of(lock)
    (path,) = Path("/dev/shm").glob(f"*{name[1:]}")  # glibc puts "sem." before it, musl nothing.
    path.unlink()
    assert registry.clean().resources[0].outcome == "unlinked"
    assert name not in Snapshot().names
    assert capfd.readouterr().err == ""


def test_a_semaphore_that_cannot_be_unlinked_is_left_to_the_tracker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(multiprocessing.resource_tracker._resource_tracker, "_fd", writer)
    name = f"/mpclean-{os.getpid()}"
    # Folders, which are not unlinked even for root: where glibc has the semaphore, and musl.
    folders = [Path(f"/dev/shm/{prefix}{name[1:]}") for prefix in ("sem.", "")]
    for folder in folders:
        folder.mkdir()
    try:
        assert unlink_semaphores([name]) == 0
    finally:
        for folder in folders:
            folder.rmdir()
    assert bytes_in_pipe(reader) == 0
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("without", [Feature.EXIT], indirect=True)
def test_without_a_way_to_run_the_exit_functions_none_is_run(without: Feature) -> None:
    ran: list[Feature] = []
    atexit.register(ran.append, without)
    run_exit_functions()
    atexit.unregister(ran.append)
    assert ran == []


def test_each_semaphore_is_claimed_once() -> None:
    lock = SPAWN.Lock()
    names = semaphore_names_of(lock)
    first, second = Snapshot(), Snapshot()
    assert first.claim(names) == names
    assert second.claim(names) == []
    assert first.claim(names) == []
    assert unlink_semaphores(names) == 1


@pytest.mark.parametrize("gone", ["tracker", "file descriptor"])
def test_a_tracker_that_is_gone_is_no_error(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = multiprocessing.resource_tracker._resource_tracker
    lock = SPAWN.Lock()
    names = semaphore_names_of(lock)
    assert Snapshot().claim(names) == names
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch:
        patch.setattr(tracker, "_fd", writer if gone == "tracker" else None)
        assert unlink_semaphores(names) == 1
    os.close(writer)
    multiprocessing.resource_tracker.unregister(names[0], "semaphore")


def test_a_thousand_semaphores_are_unregistered_in_whole_lines() -> None:
    registry = Registry()
    held = [registry.register(SPAWN.Lock(), name="lock") for _ in range(1000)]
    assert list(registry) == held
    report = registry.clean()
    assert report.semaphores == len(held)


@pytest.mark.parametrize(
    "look",
    [
        pools_and_managers,
        threads_in_get,
        is_making_something,
        lambda: waiting_for_end(0),
    ],
)
def test_a_look_at_what_threads_do_leaves_no_frame_in_a_cycle(look: Callable[[], object]) -> None:
    """Python 3.12.1 crashes when it collects one whose thread has gone on."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        look()
        gc.collect()
        left = [thing for thing in gc.garbage if isinstance(thing, types.FrameType)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert left == []
