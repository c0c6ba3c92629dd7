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
from asgi_mpclean._check.server import eventually
from asgi_mpclean._worker.tree import _stat, descendants, living

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process; a zombie is none."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in b"ZX"


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


def test_only_descendants_are_found() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        found = {pid for pid, _ in descendants(os.getpid())}
        assert child.pid in found
        assert os.getppid() not in found
        assert descendants(child.pid) == set()
        assert living({(child.pid, b"another time")}) == set()
    finally:
        child.kill()
        child.wait(10)
    assert descendants(None) == set()
    assert descendants(os.getppid()) == set()  # As if a pid were used again.
