"""Handles on workers, and what a worker leaves behind: with what Linux has, and without it."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import workers

from asgi_mpclean import Registry
from asgi_mpclean._cpython.semaphores import is_pythons_name, semaphore_names_of
from asgi_mpclean._worker import handle, look
from asgi_mpclean._worker.semaphores import made_by, unlink_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
SPAWN: Any = multiprocessing.get_context("spawn")


def fail(number: int) -> Callable[..., Any]:
    def failing(*_args: object) -> None:
        raise OSError(number, os.strerror(number))

    return failing


@pytest.fixture(params=["", "pidfd_open", "a sandbox", "waitid"], ids=lambda what: f"no {what}")
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be on a system that does not have everything."""
    if request.param == "a sandbox":
        monkeypatch.setattr(os, "pidfd_open", fail(errno.EPERM), raising=False)
    elif request.param:
        monkeypatch.delattr(os, request.param, raising=False)  # It may have no pidfd as it is.


@pytest.fixture
def worker(method: str) -> Iterator[Any]:
    context: Any = multiprocessing.get_context(method)
    ready = SPAWN.Event()
    process = context.Process(target=workers.sleep, args=(ready,))
    process.start()
    assert ready.wait(20)
    yield process
    with contextlib.suppress(ValueError):  # A test has closed it.
        process.kill()
        process.join(20)


@pytest.mark.usefixtures("system")
def test_a_worker_is_there_until_it_has_ended(worker: Any) -> None:
    assert handle.is_there(worker)
    with handle.opened(worker.pid) as opened:
        opened.send(signal.SIGKILL)
    worker.join(20)
    assert worker.exitcode == -signal.SIGKILL
    assert not handle.is_there(worker)
    worker.close()
    assert not handle.is_there(worker)


@pytest.mark.parametrize("method", ["spawn", "fork"], indirect=True)
def test_a_worker_that_somebody_else_has_reaped_is_gone(worker: Any) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    os.waitpid(worker.pid, 0)
    assert not handle.is_there(worker)
    children: Any = multiprocessing.process
    children._children.discard(worker)  # To Python it lives for ever.


def test_a_process_that_is_gone_has_no_handle() -> None:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError), handle.opened(pid):
        pass


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("/mp-abc_0189", True),
        ("/mp-abc_0189.123.4", True),  # By `asgi-mpclean trace`.
        ("/mp-abc_0189.123", False),
        ("/mp-abc_01890", False),
        ("/mp-ABC_0189", False),
        ("/mp-", False),
        ("/loky-1-abc_0189", False),
        ("/other", False),
    ],
)
def test_the_names_that_python_makes_up(name: str, whose: bool) -> None:
    assert is_pythons_name(name) == whose


def test_a_prefix_of_the_programs_own_is_pythons_too(monkeypatch: pytest.MonkeyPatch) -> None:
    process: Any = multiprocessing.current_process()
    monkeypatch.setitem(process._config, "semprefix", "/mine")
    registry = Registry()
    names = semaphore_names_of(registry.register(SPAWN.Queue()))
    registry.clean()
    assert len(names) == 3
    assert all(map(is_pythons_name, names))
    assert not is_pythons_name("/mp-abc_0189")


def test_semaphores_of_others_are_not_taken_for_a_workers_own(worker: Any) -> None:
    other = Path("/dev/shm/sem.mp-mpclean0")
    other.touch()
    try:
        assert other.name not in made_by(worker.pid)
    finally:
        other.unlink()


def test_leftovers_that_are_gone_are_no_error() -> None:
    assert unlink_leftovers({"sem.mp-never-there": 1}) == 0
    assert made_by(-1) == {}


def test_a_look_that_is_shared_reads_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "mapped", lambda pid: {pid: "path"})
    with look.shared():
        here = look.now()
        assert here is look.now()
        assert here.table() is here.table()
        assert here.shared_memory() is here.shared_memory()
        assert here.mapped(1) is here.mapped(1)
    assert here is not look.now()


def test_without_shared_memory_there_is_none_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "SHARED_MEMORY", "/no/such/folder")
    assert look.now().shared_memory() == {}
