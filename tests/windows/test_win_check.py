"""`asgi-mpclean check` and `trace` on Windows: what they count there, and what not."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from console import PATHS, is_running, is_wine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def run() -> Callable[[list[str]], int]:
    """Return the command line, in this process."""
    try:
        importlib.import_module("psutil")
    except ImportError as error:  # Not every Wine has what it needs; see .ci/windows.
        pytest.skip(f"psutil cannot be loaded: {error}")
    run: Callable[[list[str]], int] = importlib.import_module("asgi_mpclean._check.cli").run
    return run


APP = """
import atexit, multiprocessing, os, subprocess, sys, threading, time
from asgi_mpclean import MPCleanLifespan, register

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/put":
        for number in range(3):
            jobs.put(number)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

jobs = multiprocessing.Queue()
"""
WRAPPED = "register(jobs, name='jobs', on_item=print)\napp = MPCleanLifespan(app, timeout=3)\n"
# Without its environment a process is known by the one that started it.
ORPHANS = """
words = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
few = {name: os.environ[name] for name in os.environ if name.upper() in ("PATH", "SYSTEMROOT")}
for env in (None, few):
    subprocess.Popen(words, env=env, creationflags=subprocess.CREATE_NO_WINDOW,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""
FIRST_OF_ORPHANS = (APP + WRAPPED).count("\n") + 5


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Return what writes an app, in the folder of this test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, PATHS)))
    return lambda code: (tmp_path / "main.py").write_text(code, encoding="utf-8")


def only(output: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what JSON tells of all, and of the only run."""
    told = json.loads(output[output.index("{") :])
    (one,) = told["runs"]
    return told, one


@pytest.mark.usefixtures("run")
def test_a_clean_app_is_clean(write: Callable[[str], object]) -> None:
    write(APP + WRAPPED)
    words = [sys.executable, "-m", "asgi_mpclean", "check", "main:app", "--request", "GET", "/put"]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "uvicorn, CTRL-C |clean |0 |" in said
    assert "closed, 3 delivered" in said
    assert "leaked: Windows frees semaphores and shared memory with their last process" in said
    assert done.stderr == ""


def test_orphans_are_found_and_ended(
    run: Callable[[list[str]], int],
    write: Callable[[str], object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(APP + WRAPPED + ORPHANS)
    assert run(["check", "main:app", "--json"]) == 1
    _, one = only(capsys.readouterr().out)
    faults = [finding["fault"] for finding in one["findings"]]
    assert len(faults) == len(one["orphans"]) == 2, one
    for fault, orphan in zip(faults, one["orphans"], strict=True):
        assert fault.startswith(f"orphan: {orphan}, started at main.py:{FIRST_OF_ORPHANS}")
        assert not is_running(int(orphan.split()[0]))
    assert (one["verdict"], one["status"], one["tracebacks"]) == ("not clean", 0, 0)


def test_a_traceback_is_found_and_nothing_is_said_to_leak(
    run: Callable[[list[str]], int],
    write: Callable[[str], object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The queue is not registered, but nothing of it outlives the server."""
    write(APP + "atexit.register(lambda: 1 / 0)\n")
    file = os.path.abspath("main.py")  # Its drive has a colon, as what comes before the app's name.
    assert run(["check", file, "--json", "--signal", "int"]) == 1
    told, one = only(capsys.readouterr().out)
    assert [finding["fault"] for finding in one["findings"]] == ["1 traceback"]
    assert "ZeroDivisionError" in one["findings"][0]["advice"]
    assert (one["tracebacks"], one["leaked"], one["orphans"]) == (1, {}, [])
    assert told["leaks_counted_by"] is None
    assert len(told["remarks"]) == 1


def test_a_server_that_hangs_is_killed(
    run: Callable[[list[str]], int],
    write: Callable[[str], object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    thread = (
        "def wait():\n    time.sleep(600)\nthreading.Thread(target=wait, name='long').start()\n"
    )
    write(APP + WRAPPED + thread)
    assert run(["check", "main:app", "--json", "--timeout", "2"]) == 1
    _, one = only(capsys.readouterr().out)
    assert (one["hung"], one["status"], one["orphans"]) == (True, None, [])
    assert one["findings"][0]["fault"].startswith("hangs: killed 2 s after the signal")
    assert "thread 'long'" in one["findings"][0]["fault"]


@pytest.mark.parametrize("name", ["term", "hup", "kill"])
def test_a_signal_that_windows_has_not_is_refused(
    run: Callable[[list[str]], int], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "main:app", "--signal", f"int,{name}"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{name!r} is none of int, break, int-twice, int-twice-fast, reload" in said
    assert ("Windows has no signals between processes" in said) == (name != "kill")


def test_a_server_that_cannot_run_here_is_refused(
    run: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "main:app", "--server", "gunicorn"]) == 2
    assert "gunicorn does not run on this system" in capsys.readouterr().err


@pytest.mark.skipif(not is_wine(), reason="only Wine cannot press CTRL-BREAK")
def test_a_key_that_cannot_be_pressed_is_said(
    run: Callable[[list[str]], int],
    write: Callable[[str], object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(APP + WRAPPED)
    assert run(["check", "main:app", "--signal", "break"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "CTRL-BREAK could not be pressed in the console of the server" in said


@pytest.mark.skipif(is_wine(), reason="Wine cannot press it")
def test_ctrl_break_ends_a_server_clean(
    run: Callable[[list[str]], int],
    write: Callable[[str], object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(APP + WRAPPED)
    assert run(["check", "main:app", "--signal", "break", "--json"]) == 0
    _, one = only(capsys.readouterr().out)
    assert (one["stopped"], one["verdict"]) == ("CTRL-BREAK", "clean")


def test_trace_tells_what_is_left(
    run: Callable[[list[str]], int],
    write: Callable[[str], object],
    capfd: pytest.CaptureFixture[str],
) -> None:
    write(
        textwrap.dedent(
            """
            import multiprocessing, sys, time
            queue = multiprocessing.Queue()
            lock = multiprocessing.Lock()
            queue.put("unread")
            while queue.empty():
                time.sleep(0.01)
            sys.exit(4)
            """
        )
    )
    assert run(["trace", "--json", "--", sys.executable, "main.py"]) == 4
    told = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert (told["leaks"], told["unknown"]) == ([], [])
    assert [(note["what"], note["site"]) for note in told["unread"]] == [
        ("Queue with 1 unread item", "main.py:3")
    ]


@pytest.mark.parametrize("words", [["check", "app:app"], ["check", "--", "python", "app.py"]])
def test_without_a_psutil_that_works_check_says_so(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a Wine that lacks what psutil loads."""
    (tmp_path / "psutil.py").write_text("raise ImportError('DLL load failed')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *map(str, PATHS)]))
    command = [sys.executable, "-m", "asgi_mpclean", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "cannot be used here: DLL load failed" in done.stderr
    assert "Traceback" not in done.stderr
