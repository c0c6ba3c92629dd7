"""Workers on Windows, which has no signals between processes, but CTRL-C in a console."""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, Any

import pytest
import win_peers
import workers
from console import Program, ends, is_running

from asgi_mpclean import Process, Registry
from asgi_mpclean._cpython import windows

if TYPE_CHECKING:
    from pathlib import Path


def nothing() -> None:
    """Be a `stop` that stops nobody."""


@pytest.mark.parametrize("plain", [True, False], ids=["multiprocessing's", "ours"])
def test_all_that_have_not_ended_at_the_deadline_are_ended(plain: bool) -> None:
    registry, ready = Registry(), [multiprocessing.Event() for _ in range(2)]
    for event in ready:
        make: Any = multiprocessing.Process if plain else Process
        how = {} if plain else {"registry": registry, "stop": nothing}
        worker = make(target=win_peers.stay, args=(event,), **how)
        worker.start()
        registry.register(worker, stop=nothing)
    assert all(event.wait(20) for event in ready)
    report = registry.clean(1)
    assert [entry.outcome for entry in report.resources] == ["terminated"] * 2
    assert not report.deadline_passed
    assert not multiprocessing.active_children()


def test_a_worker_that_is_asked_ends_by_itself() -> None:
    registry, got = Registry(), list[int]()
    jobs: Any = registry.register(multiprocessing.Queue(), on_item=lambda _: None)
    results: Any = registry.register(multiprocessing.Queue(), on_item=got.append)
    worker = registry.Process(
        target=workers.echo, args=(jobs, results), stop=lambda: jobs.put(None)
    )
    worker.start()
    jobs.put(1)
    assert results.get(timeout=20) == 1
    report = registry.clean(5)
    assert [entry.outcome for entry in report.resources] == ["closed", "closed", "joined"]
    assert worker.exitcode == 0


def test_an_idle_worker_is_not_waited_for_until_the_deadline() -> None:
    registry = Registry()
    jobs: Any = registry.register(multiprocessing.Queue())
    ready = multiprocessing.Event()
    registry.Process(target=win_peers.read, args=(jobs, ready)).start()
    assert ready.wait(20)
    report = registry.clean(10)
    assert [entry.outcome for entry in report.resources] == ["closed", "terminated"]
    assert report.seconds < 5


IMPORTING = """
    import importlib, multiprocessing, os, signal, sys, time
    if __name__ == "__mp_main__":
        print("importing", flush=True)
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.05)
    import asgi_mpclean
    def work():
        print("worked", flush=True)
    if __name__ == "__main__":
        signal.signal(signal.SIGINT, lambda *_: print("heard", flush=True))
        make = multiprocessing.Process if sys.argv[1] == "plain" else asgi_mpclean.Process
        worker = make(target=work)
        worker.start()
        while worker.is_alive():  # Unlike `join`, it lets handlers run.
            time.sleep(0.05)
        print("died" if worker.exitcode else "ended well", flush=True)
"""


SAID = ["heard", "worked", "ended well", "KeyboardInterrupt", "died"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ours", ["heard", "worked", "ended well"]),
        ("plain", ["heard", "KeyboardInterrupt", "died"]),  # What is mended.
    ],
)
def test_ctrl_c_spares_a_worker_that_is_still_importing(
    tmp_path: Path, kind: str, expected: list[str]
) -> None:
    pressed = tmp_path / "pressed"
    with Program.script(tmp_path, IMPORTING, kind, str(pressed)) as program:
        program.read_until("importing")
        program.press()
        program.read_until("heard")
        if kind == "ours":
            pressed.touch()
        output = "\n".join(program.end())  # What two processes print may share a line.
    assert [words for words in SAID if words in output] == expected, output


STARTING = """
    import multiprocessing, sys, time
    from asgi_mpclean import Process
    from asgi_mpclean._cpython import windows
    class Slow:
        def __reduce__(self):
            print("while it is given its arguments", windows._ctrl_c_is_ignored())
            return Slow, ()
    def work(slow):
        print("in the worker", windows._ctrl_c_is_ignored(), flush=True)
    if __name__ == "__main__":
        before = len(sys.argv) > 1 and windows.ignore_ctrl_c()
        worker = Process(target=work, args=(Slow(),))
        worker.start()
        print("after the start", windows._ctrl_c_is_ignored(), flush=True)
        worker.join()
"""


@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_is_heeded_again_as_soon_as_the_child_exists(tmp_path: Path, ignored: bool) -> None:
    with Program.script(tmp_path, STARTING, *["ignored"][: int(ignored)]) as program:
        lines = program.end()
    assert sorted(lines) == [
        f"after the start {ignored}",
        "in the worker True",
        f"while it is given its arguments {ignored}",
    ]


FAREWELL = """
    import os, pathlib, sys, time
    from asgi_mpclean import Process
    def work(path):
        try:
            print("worker", os.getpid(), flush=True)
            while True:
                time.sleep(0.05)
        finally:
            pathlib.Path(path).touch()
    if __name__ == "__main__":
        Process(target=work, args=(sys.argv[1],)).start()
        time.sleep(60)
"""


def test_a_worker_ends_with_its_server_and_runs_its_finally_blocks(tmp_path: Path) -> None:
    with Program.script(tmp_path, FAREWELL, str(tmp_path / "farewell")) as program:
        pid = int(program.read_until("worker"))
        assert is_running(pid)
        program.process.kill()
        assert ends(pid)
    assert (tmp_path / "farewell").exists()


def test_cpu_time_is_known() -> None:
    this_process = -1
    before = windows.cpu_seconds_of(this_process)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
    assert before < windows.cpu_seconds_of(this_process) < before + 1
    assert windows.cpu_seconds_of(0) == 0


GUARDED = """
    import asgi_mpclean, multiprocessing, signal, sys, time
    if __name__ == "__main__":
        queue = asgi_mpclean.register(multiprocessing.Queue(), on_item=print)
        for number in range(3): queue.put(number)
        print("ready", flush=True)
        if "break" in sys.argv: signal.raise_signal(signal.SIGBREAK)
        while True: time.sleep(0.05)
"""


@pytest.mark.parametrize("how", ["CTRL-C", "break"])
def test_a_script_that_is_stopped_delivers_first(tmp_path: Path, how: str) -> None:
    with Program.script(tmp_path, GUARDED, how) as program:
        program.read_until("ready")
        if how == "CTRL-C":  # Wine presses no CTRL-BREAK.
            program.press()
        lines = program.end()
    assert [line for line in lines if line in {"0", "1", "2"}] == ["0", "1", "2"], lines
    assert program.process.returncode != 0
