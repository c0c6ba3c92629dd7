"""`leaks()` and `trace()`: what this process holds now, and the lines that made it."""

from __future__ import annotations

import gc
import inspect
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from multiprocessing import synchronize
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import pytest
from traces import traced, written

from asgi_mpclean import Leak, leaks, trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPAWN = multiprocessing.get_context("spawn")


def here(offset: int = 0) -> str:
    """Return the line of the caller, as a site."""
    frame = inspect.stack()[1]
    return f"{os.path.relpath(frame.filename)}:{frame.lineno + offset}"


MADE: dict[str, tuple[Callable[[], Any], int]] = {
    "Queue": (SPAWN.Queue, 3),
    "JoinableQueue": (SPAWN.JoinableQueue, 8),
    "SimpleQueue": (SPAWN.SimpleQueue, 2),
    "Lock": (SPAWN.Lock, 1),
    "Event": (SPAWN.Event, 5),
    "Value": (lambda: SPAWN.Value("i"), 1),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_is_made_is_known_by_its_line_until_it_is_gone(kind: str) -> None:
    make, semaphores = MADE[kind]
    with trace():
        made = make()
        line = here(-1)
        (found,) = leaks()
    if kind != "Value":  # Made by a line of this table.
        assert found.site == line
    assert (found.kind, found.thread, len(found.names)) == (kind, "MainThread", semaphores)
    assert leaks() == [found]
    del made
    gc.collect()  # Nothing counts references in PyPy.
    assert leaks() == []


def test_without_trace_what_multiprocessing_knows_is_listed_without_lines() -> None:
    queue = SPAWN.Queue()
    found = leaks()
    assert [(leak.kind, leak.site) for leak in found] == [
        ("BoundedSemaphore", None),
        ("Lock", None),
        ("Lock", None),
    ] or sorted(leak.kind for leak in found) == ["BoundedSemaphore", "Lock", "Lock"]
    assert all(leak.site is None for leak in found)
    del queue


def test_a_queue_tells_what_is_in_it_and_a_child_where_it_was_started() -> None:
    with trace():
        queue = SPAWN.Queue()
        queue.put("one")
        worker = SPAWN.Process(target=time.sleep, args=(30,))
        worker.start()
        line = here(-1)
    found = {leak.kind: leak for leak in leaks()}
    assert found["Queue"].unread == 1
    assert found["Queue"].feeding
    assert found["Process"] == Leak("Process", line, pid=worker.pid)
    assert str(found["Process"]) == f"Process made at {line}, process {worker.pid}"
    assert queue.get(timeout=10) == "one"
    worker.terminate()
    worker.join()
    queue.close()
    queue.join_thread()
    assert [(leak.kind, leak.unread, leak.feeding) for leak in leaks()] == [("Queue", 0, False)]


def test_shared_memory_is_held_until_it_is_unlinked() -> None:
    with trace():
        block = SharedMemory(create=True, size=16)
        line = here(-1)
    other = SharedMemory(block.name)
    other.close()
    assert leaks() == [Leak("SharedMemory", line, "MainThread", (block.name,))]
    block.close()
    block.unlink()
    assert leaks() == []


def test_it_can_be_open_several_times_and_leaves_nothing_behind() -> None:
    found = (synchronize.SemLock.__dict__["_make_name"], SharedMemory.__init__, [*sys.meta_path])
    with trace():
        with trace():
            pass
        inner = SPAWN.Lock()
        assert leaks()[0].site == here(-1)
    after = (synchronize.SemLock.__dict__["_make_name"], SharedMemory.__init__)
    assert after == found[:2]
    outer = SPAWN.Lock()
    assert [leak.site is None for leak in leaks()] == [True, False]
    del inner, outer


def test_another_thread_is_named() -> None:
    made = []
    with trace():
        thread = threading.Thread(target=lambda: made.append(SPAWN.Lock()), name="maker")
        thread.start()
        thread.join()
    assert [leak.thread for leak in leaks()] == ["maker"]
    made.clear()


def test_a_child_by_fork_does_not_list_what_its_parent_made() -> None:
    with trace():
        lock = SPAWN.Lock()
        pid = os.fork()
        if not pid:
            os._exit(len(leaks()))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    del lock


def test_it_is_plain_data() -> None:
    leak = Leak("Queue", "app.py:12", "MainThread", ("/mp-1", "/mp-2"), unread=2)
    assert json.loads(json.dumps(leak.to_dict())) == {
        "kind": "Queue",
        "site": "app.py:12",
        "thread": "MainThread",
        "names": ["/mp-1", "/mp-2"],
        "unread": 2,
        "feeding": False,
        "pid": None,
    }
    assert str(leak) == "Queue made at app.py:12, 2 semaphores, 2 unread items"


def test_it_loads_no_multiprocessing() -> None:
    script = (
        "import sys, asgi_mpclean as m\n"
        "with m.trace(): print(m.leaks())\n"
        "assert 'multiprocessing' not in sys.modules\n"
        "with m.trace():\n"
        "    import multiprocessing\n"
        "    lock = multiprocessing.get_context('spawn').Lock()\n"
        "    print([leak.site for leak in m.leaks()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.splitlines() == ["[]", "['<string>:6']"], done.stderr


def test_under_the_command_it_uses_what_that_has_noted(tmp_path: Path) -> None:
    program = """
    import multiprocessing, asgi_mpclean
    lock = multiprocessing.get_context("spawn").Lock()
    with asgi_mpclean.trace():
        print([leak.site for leak in asgi_mpclean.leaks()])
    print([leak.site for leak in asgi_mpclean.leaks()])
    """
    run = traced([sys.executable, written(tmp_path, program)], folder=tmp_path)
    assert run.stdout.splitlines() == ["['app.py:2']", "['app.py:2']"]
    assert run.report["clean"]
