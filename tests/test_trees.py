"""Workers that start workers, and workers whose parent is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import workers

from asgi_mpclean import Registry
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._worker.tree import Table, late_children, living, send, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process; a zombie is none."""
    status = status_of(pid)
    return status is not None and not status.ended


def pids_in(folder: Path, count: int) -> list[int]:
    """Wait until so many processes have written down their pids."""

    def names() -> list[str]:
        return [path.name for path in folder.iterdir() if path.name.isdigit()]

    assert eventually(lambda: len(names()) == count, 30)
    return [int(name) for name in names()]


@pytest.fixture
def no_survivors(tmp_path: Path) -> Iterator[None]:
    """Kill whoever has survived a test that failed."""
    yield
    for path in tmp_path.iterdir():
        if path.name.isdigit() and is_alive(int(path.name)):
            os.kill(int(path.name), signal.SIGKILL)


@pytest.mark.usefixtures("no_survivors")
@pytest.mark.parametrize("plain", [False, True], ids=["library", "plain"])
@pytest.mark.parametrize("stubborn", [False, True], ids=["", "stubborn"])
def test_a_tree_ends_with_its_root(
    tmp_path: Path, method: str, plain: bool, stubborn: bool
) -> None:
    registry = Registry()
    context: Any = multiprocessing.get_context(method)
    make = context.Process if plain else registry.Process
    options = {} if plain else {"ctx": context}
    root = make(target=workers.grow, args=(str(tmp_path), 2, method, plain, stubborn), **options)
    registry.register(root)
    root.start()
    pids = pids_in(tmp_path, 3)
    report = registry.clean(2)
    assert report.seconds < 2.2
    assert eventually(lambda: not any(map(is_alive, pids)), 1), pids


@pytest.mark.usefixtures("no_survivors")
@pytest.mark.parametrize(
    ("kind", "stubborn"),
    [("Process", False), ("Process", True), ("Pool", False), ("ProcessPoolExecutor", False)],
)
def test_workers_end_within_a_second_of_their_parent(
    tmp_path: Path, method: str, kind: str, stubborn: bool
) -> None:
    script = f"import workers; workers.serve({str(tmp_path)!r}, {method!r}, {kind!r}, {stubborn})"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    server = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}
    )
    pids = pids_in(tmp_path, 2)
    server.kill()
    died = time.monotonic()
    server.wait(10)
    assert eventually(lambda: not any(map(is_alive, pids)), 5)
    assert time.monotonic() - died < 1


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_only_descendants_are_found(child: subprocess.Popen[bytes]) -> None:
    found = {pid for pid, _ in Table().descendants(os.getpid())}
    assert child.pid in found
    assert os.getppid() not in found
    assert not Table().descendants(child.pid)
    assert not Table().descendants(None)
    assert not Table().descendants(os.getppid())  # As if a pid were used again.


def test_a_process_with_the_number_of_an_ended_one_is_another(
    child: subprocess.Popen[bytes],
) -> None:
    before = {(child.pid, b"another time"): None}
    assert not living(before)
    send(before, signal.SIGKILL)
    assert child.poll() is None


def test_the_children_of_a_process_are_those_it_has_now(child: subprocess.Popen[bytes]) -> None:
    status = status_of(os.getpid())
    assert status is not None
    assert child.pid in {pid for pid, _ in late_children({(os.getpid(), status.start): None})}
    assert not late_children({(os.getpid(), b"another time"): None})
    assert not late_children({(-1, status.start): None})
