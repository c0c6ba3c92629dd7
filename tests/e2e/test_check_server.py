"""The harness sees each fault it is there to see; else the other tests could not fail."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from script import SLEEP

from asgi_mpclean._check.errors import ServerError
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.server import Server
from asgi_mpclean._check.shm import SHM, can_unshare

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgi_mpclean._check.outcome import Outcome

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

APPS = Path(__file__).parent / "apps"

QUEUE = """
import multiprocessing, os, signal, time
queue = multiprocessing.get_context("spawn").Queue()
"""
CHILD = """
import os, signal, time
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork() == 0:
    time.sleep(60)
"""
WAIT = f"""
print("ready")
{SLEEP}
"""

PRIVATE = [
    pytest.param(
        True, id="own /dev/shm", marks=pytest.mark.skipif(not can_unshare(), reason="needs root")
    ),
    pytest.param(False, id="inodes"),
]


def run(
    code: str,
    stop: Callable[[Server], object] = lambda server: server.signal(signal.SIGTERM),
    *,
    timeout: float = 10,
    pty: bool = False,
    private_shm: bool | None = None,
) -> Outcome:
    """Run the code till it says that it is ready, then stop it."""
    command = sys.executable, "-c", code
    with Server(*command, pty=pty, private_shm=private_shm) as server:
        server.wait_for_text("ready")
        stop(server)
        return server.finish(timeout)


@pytest.mark.parametrize("private_shm", PRIVATE)
def test_clean_exit_has_no_faults(private_shm: bool) -> None:
    code = QUEUE + "signal.signal(signal.SIGTERM, lambda *_: exit(3))" + WAIT
    outcome = run(code, private_shm=private_shm)
    assert outcome.faults == []
    assert outcome.status == 3
    assert outcome.seconds < 1
    assert "ready" in outcome.output


@pytest.mark.parametrize("private_shm", PRIVATE)
def test_leak_that_the_tracker_tells(private_shm: bool) -> None:
    outcome = run(QUEUE + WAIT, private_shm=private_shm)
    assert outcome.status == -signal.SIGTERM
    assert len(outcome.warnings) == 1
    assert "There appear to be 3 leaked semaphore" in outcome.warnings[0]
    assert outcome.left == ()  # the tracker has removed them
    assert len(outcome.faults) == 1


@pytest.mark.parametrize("private_shm", PRIVATE)
def test_leak_that_nobody_tells(private_shm: bool) -> None:
    code = """
from multiprocessing.resource_tracker import _resource_tracker as tracker
def stop(*_):
    os.kill(tracker._pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
signal.signal(signal.SIGTERM, stop)
"""
    outcome = run(QUEUE + code + WAIT, private_shm=private_shm)
    assert outcome.warnings == ()
    assert len(outcome.left) == 3
    assert outcome.faults == [f"3 left in /dev/shm: {', '.join(outcome.left)}"]
    assert not [name for name in outcome.left if (SHM / name).exists()]


def test_semaphores_of_others_are_not_counted() -> None:
    with Server(sys.executable, "-c", QUEUE + WAIT, private_shm=False) as other:
        other.wait_for_text("ready")
        code = QUEUE + "signal.signal(signal.SIGTERM, lambda *_: exit())" + WAIT
        outcome = run(code, private_shm=False)
        assert outcome.faults == []
        assert other.finish(0).hung


def test_orphan() -> None:
    outcome = run(CHILD + WAIT)
    assert len(outcome.orphans) == 1
    assert len(outcome.faults) == 1
    pid, _, command = outcome.orphans[0].partition(" ")
    assert command.startswith(sys.executable)
    assert not Path(f"/proc/{pid}").exists(), "the harness has to kill and to reap it"


def test_orphan_in_a_session_of_its_own() -> None:
    code = CHILD.replace("    time", "    os.setsid()\n    print('ready')\n    time")
    outcome = run(code + "signal.pause()")
    assert len(outcome.orphans) == 1


def test_orphan_that_has_cleared_its_environment() -> None:
    program = "print('ready', flush=True); import time; time.sleep(60)"
    words = [sys.executable, "-c", program]
    code = CHILD.replace("time.sleep(60)", f"os.execve({sys.executable!r}, {words!r}, {{}})")
    outcome = run(code + "signal.pause()")
    assert len(outcome.orphans) == 1
    assert program in outcome.orphans[0]


def test_orphan_keeps_the_leak_quiet() -> None:
    worker = "multiprocessing.get_context('spawn').Process(target=time.sleep, args=(60,)).start()"
    outcome = run(QUEUE + worker + WAIT)
    assert outcome.warnings == ()
    assert len(outcome.left) == 3
    assert len(outcome.orphans) == 1
    assert len(outcome.faults) == 2


def test_child_that_ends_soon_after_the_server_is_no_orphan() -> None:
    code = CHILD.replace("time.sleep(60)", "time.sleep(0.5); os._exit(0)")
    assert run(code + WAIT).faults == []


def test_hang() -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    outcome = run(code + "print('ready')\nwhile True: signal.pause()", timeout=0.5)
    assert outcome.hung
    assert outcome.status == -signal.SIGKILL
    assert outcome.seconds >= 0.5
    assert outcome.faults == ["hung: killed 0.5 s after the last signal"]


def test_tracebacks() -> None:
    code = f"""
import time
try:
    print("ready")
    {SLEEP}
finally:
    raise ValueError("another one")
"""
    outcome = run(code, lambda server: server.interrupt())
    assert outcome.tracebacks == 2
    assert outcome.faults == ["2 tracebacks"]
    assert "KeyboardInterrupt" in outcome.output


def test_unregistering_twice_is_seen() -> None:
    code = """
from multiprocessing import resource_tracker
resource_tracker.register("/none", "semaphore")
resource_tracker.unregister("/none", "semaphore")
resource_tracker.unregister("/none", "semaphore")
print("ready")
"""
    outcome = run(code, lambda _: None)
    assert outcome.status == 0
    assert outcome.faults == ["1 tracebacks"]


def test_ctrl_c_reaches_the_process_group() -> None:
    code = f"""
import os, signal, time
signal.signal(signal.SIGINT, lambda *_: os._exit(5))
child = os.fork()
if child == 0:
    print("ready")
{SLEEP}
"""
    outcome = run(code, lambda server: server.interrupt())
    assert (outcome.status, outcome.faults) == (5, [])


@pytest.mark.parametrize("private_shm", PRIVATE)
def test_ctrl_c_on_a_terminal(private_shm: bool) -> None:
    code = QUEUE + "assert os.isatty(0)\nsignal.signal(signal.SIGINT, lambda *_: exit(4))" + WAIT
    outcome = run(code, lambda server: server.interrupt(), pty=True, private_shm=private_shm)
    assert (outcome.status, outcome.faults) == (4, [])


def test_a_full_pipe_does_not_stop_the_server() -> None:
    code = "print('x' * 1_000_000)\nprint('ready')"
    outcome = run(code, lambda _: None)
    assert outcome.faults == []
    assert outcome.output.count("x") == 1_000_000


def test_output_that_does_not_come_is_told() -> None:
    with Server(sys.executable, "-c", "print('something else')") as server:
        with pytest.raises(ServerError, match="something else"):
            server.wait_for_text("ready")
        with pytest.raises(ServerError, match="ended with 0"):
            server.wait_until_ready()


def test_leaving_the_block_kills_all() -> None:
    with Server(sys.executable, "-c", QUEUE + CHILD + WAIT) as server:
        server.wait_for_text("ready")
        pids = [int(line.split()[0]) for line in server.descendants()]
        assert len(pids) == 2  # the child and the tracker
    assert not [pid for pid in (server.pid, *pids) if Path(f"/proc/{pid}").exists()]


@pytest.mark.smoke
def test_an_app_without_the_library_leaks() -> None:
    command = sys.executable, "-m", "uvicorn", "idle:app", "--port", "{port}"
    with Server(*command, cwd=APPS, library=False) as server:
        server.wait_until_ready()
        assert server.request("/") == "ok"
        server.signal(signal.SIGTERM)
        outcome = server.finish()
    assert outcome.status == -signal.SIGTERM
    assert [warning.partition("There appear to be ")[2][:1] for warning in outcome.warnings] == [
        "6"
    ]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_app_without_the_library_hangs_or_leaves_its_worker(stop: signal.Signals) -> None:
    command = sys.executable, "-m", "uvicorn", "full_results:app", "--port", "{port}"
    with Server(*command, cwd=APPS, library=False) as server:
        server.wait_for_text("worker done")
        server.wait_until_ready()
        server.signal_group(stop) if stop == signal.SIGINT else server.signal(stop)
        outcome = server.finish(3)
    assert outcome.hung == (stop == signal.SIGINT)
    assert len(outcome.orphans) == 1


def test_eventually_gives_up() -> None:
    assert eventually(lambda: 0, 0.05) == 0
    assert eventually(os.getpid, 0) == os.getpid()


def test_a_signal_that_we_ignore_is_not_ignored_by_the_server() -> None:
    """As in a background job of a script, where some servers then do not handle CTRL-C at all."""
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    found = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Server(sys.executable, "-c", code) as server:
            server.wait_for_text("True")
    finally:
        signal.signal(signal.SIGINT, found)
