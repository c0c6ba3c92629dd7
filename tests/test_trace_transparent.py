"""Under `asgi-mpclean trace` output, terminal, signals and exit status are the program's own."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pythons import some
from traces import TRACE, written

if TYPE_CHECKING:
    from pathlib import Path

# Nothing is put into another Python, which runs as without the trace.
KNOWN = sys.implementation.name == "cpython"
SAID = f"asgi-mpclean trace: nothing {'leaked' if KNOWN else 'is known'}"
PROGRAM = """
import os, signal, sys, time
got = []
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGQUIT"):
    number = getattr(signal, name)
    if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, lambda signum, _: got.append(signal.Signals(signum).name))
print("ready", os.isatty(0), os.isatty(1), flush=True)
until = time.monotonic() + 20
while not got and time.monotonic() < until:
    time.sleep(0.01)
time.sleep(0.4)
print("got", *got, flush=True)
print(sys.stdin.readline().strip() if not os.isatty(0) else "tty", flush=True)
sys.exit(9)
"""


class Program:
    """The program under the trace, in a session of its own."""

    def __init__(self, path: str, *, terminal: bool = False, before: tuple[str, ...] = ()) -> None:
        self.master = -1
        stdin: int = subprocess.PIPE
        self.terminal = terminal
        if terminal:
            self.master, stdin = pty.openpty()
            before = ("setsid", "--ctty", *before)
        self.process = subprocess.Popen(
            [*before, *TRACE, "--", sys.executable, path],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=not terminal,
        )
        if terminal:
            os.close(stdin)
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline().strip()

    def end(self) -> tuple[list[str], str]:
        """Return the lines that it wrote, and what went to stderr."""
        out, err = self.process.communicate(None if self.terminal else "a line\n", timeout=30)
        return out.splitlines(), err


@pytest.fixture
def path(tmp_path: Path) -> str:
    return written(tmp_path, PROGRAM)


@pytest.mark.parametrize("to_group", [False, True], ids=["pid", "group"])
@pytest.mark.parametrize("name", some(["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"], "SIGTERM"))
def test_a_signal_arrives_once(path: str, name: str, to_group: bool) -> None:
    program = Program(path)
    send = os.killpg if to_group else os.kill
    send(program.process.pid, getattr(signal, name))
    out, err = program.end()
    assert out == [f"got {name}", "a line"]
    assert program.process.returncode == 9
    assert err.startswith(SAID)


def test_ctrl_c_on_a_terminal_arrives_once(path: str) -> None:
    program = Program(path, terminal=True)
    assert program.ready == "ready True False"
    os.write(program.master, b"\x03")
    out, _err = program.end()
    os.close(program.master)
    assert out == ["got SIGINT", "tty"]


def test_what_is_ignored_stays_ignored(path: str) -> None:
    program = Program(path, before=("nohup",))
    program.process.send_signal(signal.SIGHUP)
    program.process.send_signal(signal.SIGTERM)
    out, _err = program.end()
    assert out == ["got SIGTERM", "a line"]


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_it_dies_of_what_the_program_died_of(signum: signal.Signals) -> None:
    text = f"import os; print('said', flush=True); os.kill(os.getpid(), {int(signum)})"
    done = subprocess.run(
        [*TRACE, "--", sys.executable, "-c", text],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == -signum
    assert done.stdout == "said\n"
    assert done.stderr.startswith(SAID)


def test_descriptors_that_were_passed_are_passed_on() -> None:
    reading, writing = os.pipe()
    done = subprocess.run(
        [*TRACE, "--", sys.executable, "-c", f"import os; os.write({writing}, b'here')"],
        pass_fds=[writing],
        capture_output=True,
        timeout=30,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0
    assert os.read(reading, 10) == b"here"
    os.close(reading)


def test_a_page_is_written_beside_the_report(tmp_path: Path) -> None:
    program = "import multiprocessing as m, os\nq = m.get_context('spawn').Queue()\nos._exit(4)\n"
    page = tmp_path / "page.html"
    done = subprocess.run(
        [*TRACE, "--html", str(page), "--", sys.executable, written(tmp_path, program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 4
    report = done.stderr[done.stderr.index("asgi-mpclean trace: ") :]
    assert re.sub(r"process \d+", "process PID", report) == (
        "asgi-mpclean trace: 3 semaphores not released, made by 1 line\n"
        "  app.py:2  Queue, 3 semaphores\n"
        "      q = m.get_context('spawn').Queue()\n"
        "    3 in main process PID, os._exit(4) at app.py:3\n"
    )
    html = page.read_text()
    assert "app.py:2<br><code>q = m.get_context(&#x27;spawn&#x27;).Queue()</code>" in html
    assert "src=" not in html
    assert "http" not in html


@pytest.mark.parametrize("path", ["/nowhere/page.html", "/proc/page.html"])
def test_a_page_that_cannot_be_written_is_said(path: str) -> None:
    done = subprocess.run(
        [*TRACE, "--html", path, "--", sys.executable, "-c", "import sys; sys.exit(4)"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    folder = os.path.dirname(path)
    exists = os.path.isdir(folder)
    assert done.returncode == (4 if exists else 2)
    assert ("cannot be written" if exists else f"there is no folder {folder}") in done.stderr
