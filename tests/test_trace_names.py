"""The recorder's private names of CPython: each is there, and each can be done without."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import types
from multiprocessing import process, resource_tracker, synchronize, util
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import pytest
from pythons import pythons
from traces import traced, written

from asgi_mpclean import leaks, trace
from asgi_mpclean._trace import held
from asgi_mpclean._trace.recorder import making, names, sites

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPAWN = multiprocessing.get_context("spawn")


class Bare:
    """Something of multiprocessing without any private name."""


def without(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    monkeypatch.delattr(owner, name)


def test_they_are_all_there() -> None:
    lock, queue = SPAWN.Lock(), SPAWN.Queue()
    assert names.semaphore_name(lock)
    assert names.makes_names(synchronize.SemLock)
    assert names.thread_name() == "MainThread"
    assert names.getframe(0).f_code.co_name == "test_they_are_all_there"
    assert names.frame_of(threading.get_ident()) is not None
    assert {"semaphore", "shared_memory"} <= set(names.clean_up_functions(resource_tracker))
    assert len(names.named_semaphores(util)) == 4
    queue.put(1)
    assert names.feeds(queue)
    assert names.unread(queue) == 1
    assert queue.get(timeout=9) == 1
    for name in ("_buffer", "_thread", "_joincancelled"):
        assert hasattr(queue, name), name
    assert hasattr(process, "_children")
    assert hasattr(threading, "_register_atexit")
    queue.close()
    queue.join_thread()


class Failing:
    """A queue of a system that cannot count what is in its pipe."""

    _buffer = (1, 2)

    def qsize(self) -> int:
        raise NotImplementedError

    def empty(self) -> bool:
        return False


class Closed(Failing):
    """The same, whose pipe is closed."""

    def empty(self) -> bool:
        raise ValueError


INSTEAD: dict[str, tuple[Callable[[], Any], Any]] = {
    "name": (lambda: names.semaphore_name(Bare()), None),
    "backlog": (lambda: names.backlog(Bare()), 0),
    "feeds": (lambda: names.feeds(Bare()), False),
    "unread, macOS": (lambda: names.unread(Failing()), 3),
    "unread, macOS, closed": (lambda: names.unread(Closed()), 2),
    "clean-up functions": (lambda: names.clean_up_functions(types.ModuleType("bare")), {}),
    "named semaphores": (lambda: names.named_semaphores(types.ModuleType("bare")), {}),
    "makes names": (lambda: names.makes_names(Bare), False),
}


@pytest.mark.parametrize("what", INSTEAD)
def test_without_one_there_is_an_answer(what: str) -> None:
    ask, answer = INSTEAD[what]
    assert ask() == answer


@pytest.mark.parametrize("told", [True, False], ids=["", "nothing tells"])
def test_a_block_that_is_unlinked_later_is_not_held_where_no_folder_shows_it(
    monkeypatch: pytest.MonkeyPatch, *, told: bool
) -> None:
    monkeypatch.setattr(held, "SHM", "/no/such/folder")
    with trace():
        block = SharedMemory(create=True, size=1)
    assert [leak.names for leak in leaks()] == [(block.name,)]
    block.close()
    block.unlink()
    with monkeypatch.context() as patch:
        if not told:
            patch.delattr("multiprocessing.shared_memory._posixshmem")
        assert [leak.names for leak in leaks()] == ([] if told else [(block.name,)])
    making.blocks.clear()


def test_without_the_table_of_threads_a_thread_has_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading, "_active", {})
    assert names.thread_name() == f"thread {threading.get_ident()}"


def test_without_the_set_of_children_the_public_way_finds_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = SPAWN.Process(target=print)
    child.start()
    found = names.children()
    monkeypatch.setattr(names, "process", Bare())
    assert names.children() == found == {child}
    child.join()


def test_without_frames_no_line_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, sys, "_current_frames")
    assert names.frame_of(threading.get_ident()) is None
    monkeypatch.setattr(names, "getframe", lambda _depth: None)
    with trace():
        lock = SPAWN.Lock()
        queue = SPAWN.Queue()
        assert {(leak.kind, leak.site) for leak in leaks()} == {("SemLock", None), ("Queue", None)}
    assert sites.find(None) == (None, None, None)
    del lock, queue


def test_without_a_hook_before_the_threads_none_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    if hasattr(threading, "_register_atexit"):
        monkeypatch.setattr(threading, "_register_atexit", _too_late)
        names.before_threads_are_joined(lambda: called.append(1))
        without(monkeypatch, threading, "_register_atexit")
    names.before_threads_are_joined(lambda: called.append(2))
    assert called == []


def _too_late(_callback: object) -> None:
    msg = "can't register atexit after shutdown"
    raise RuntimeError(msg)


def test_a_name_that_is_not_ours_has_no_origin() -> None:
    assert making.origin_of("/mp-abcdefgh") is None
    assert making.origin_of("/mp-abcdefgh.1.2") is None
    assert making.origin_of("/mp-abcdefgh.x.y") is None


@pytest.mark.parametrize("python", pythons())
def test_where_names_are_made_otherwise_each_is_noted(python: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text(
        "from multiprocessing.synchronize import SemLock\n"
        "found = SemLock._make_name\n"
        "SemLock._make_name = classmethod(lambda cls: found())\n"
    )
    program = """
    import multiprocessing, os
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    lock = spawn.Lock()
    os._exit(0)
    """
    command = [python, written(tmp_path, program)]
    run = traced(command, folder=tmp_path, env={"PYTHONPATH": str(own)})
    assert run.leaks == {"app.py:3": "1 Queue 3", "app.py:4": "1 Lock 1"}
