"""`asgi-mpclean run`: programs that nobody changes, in environments that lack the library.

Each is run without the command and with it. What it prints is the same, less what tells of a leak
or of a worker that CTRL-C has ended, and so is its exit status.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, NamedTuple

import kit
import pytest
from pythons import pythons

from asgi_mpclean._check import launch
from asgi_mpclean._check.outcome import TRACEBACK
from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from asgi_mpclean._check.outcome import Outcome

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

RUN = (sys.executable, "-m", "asgi_mpclean", "run", "--")
# An interpreter in whose environment there is neither the library nor anyio.
BARE = os.path.realpath(sys.executable)
PYTHONS = [python for python in pythons() if python != sys.executable] or [BARE]
METHODS = ("spawn", "forkserver", "fork") if kit.LONG else ("spawn",)

PROLOGUE = """
import concurrent.futures, multiprocessing, os, signal, sys, time
from multiprocessing import shared_memory
ctx = multiprocessing.get_context(sys.argv[1])
def say(*words): os.write(1, " ".join(["said:", *map(str, words), "\\n"]).encode())
def wait():
    print("ready", flush=True)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        time.sleep(0.01)
"""


NAMES_BY_DEFAULT = (
    "a worker, SIGTERM",
    "a pool, CTRL-C",
    "an executor, CTRL-C",
    "an exec",
    "a worker that ends for CTRL-C in its own way",
)


class Case(NamedTuple):
    """A program.

    Attributes:
        text: Its main part; functions before the line ``---``.
        stops: The signals it gets, to its group if the number is negative.
        leaks: Whether it leaves something, or a worker prints a traceback, without the command.
    """

    text: str
    stops: tuple[int, ...] = ()
    leaks: bool = True


PROGRAMS = {
    "a worker, SIGTERM": Case(
        """
        ---
        jobs = ctx.Queue()
        ctx.Process(target=jobs.get).start()
        wait()
        """,
        (signal.SIGTERM,),
    ),
    "a worker and a full queue, SIGHUP": Case(
        """
        def work(results):
            for number in range(1000):
                results.put(b"x" * 1000)
            print("ready", flush=True)
        ---
        results = ctx.Queue()
        ctx.Process(target=work, args=(results,)).start()
        time.sleep(30)
        """,
        (signal.SIGHUP,),
    ),
    "a worker, CTRL-C": Case(
        """
        def work(begun):
            begun.set()
            time.sleep(30)
        ---
        begun = ctx.Event()
        worker = ctx.Process(target=work, args=(begun,))
        worker.start()
        begun.wait()
        try:
            wait()
        except KeyboardInterrupt:
            worker.join()
            say("worker", worker.exitcode)
        """,
        (-signal.SIGINT,),
    ),
    "a pool, CTRL-C": Case(
        """
        def work(number):
            if number == 1:
                time.sleep(0.2)  # Python loses a CTRL-C just before its main thread waits.
                print("ready", flush=True)
            time.sleep(30)
        ---
        try:
            with ctx.Pool(2) as pool:
                pool.map(work, range(4), chunksize=1)
        except KeyboardInterrupt:
            say("interrupted")
        """,
        (-signal.SIGINT,),
    ),
    "an executor, CTRL-C": Case(
        """
        ---
        with concurrent.futures.ProcessPoolExecutor(2, ctx) as executor:
            list(executor.map(time.sleep, [0.1, 0.1]))
            time.sleep(0.2)  # A worker that still sends its result lives on with CTRL-C.
            try:
                wait()
            except KeyboardInterrupt:
                say("interrupted")
        """,
        (-signal.SIGINT,),
    ),
    "an exec": Case(
        """
        ---
        if len(sys.argv) == 2:
            queue = ctx.Queue()
            lock = multiprocessing.get_context("spawn").Lock()
            say("once")
            os.execv(sys.executable, [sys.executable, *sys.argv, "again"])
        say(sys.argv[2])
        """
    ),
    "a default that was put back": Case(
        """
        ---
        found = signal.signal(signal.SIGTERM, lambda *_: None)
        lock = multiprocessing.get_context("spawn").Lock()
        signal.signal(signal.SIGTERM, found)
        signal.raise_signal(signal.SIGTERM)
        """
    ),
    "shared memory, SIGTERM": Case(
        """
        ---
        def make():
            say(shared_memory.SharedMemory(create=True, size=10).size > 0)
        make()
        wait()
        """,
        (signal.SIGTERM,),
    ),
    # What has to go on as it did: nothing of it is left, and nothing of it may be cut short.
    "workers that go on at the end": Case(
        """
        def work(results):
            results.put("begun")
            time.sleep(0.5)
            results.put("done")
            say("worked")
        ---
        results = ctx.Queue()
        ctx.Process(target=work, args=(results,)).start()
        say(results.get())
        """,
        leaks=False,
    ),
    "a worker that ends for CTRL-C in its own way": Case(
        """
        def work(begun):
            try:
                begun.set()
                time.sleep(30)
            except KeyboardInterrupt:
                say("the worker writes its file")
                sys.exit(3)
        ---
        begun = ctx.Event()
        worker = ctx.Process(target=work, args=(begun,))
        worker.start()
        begun.wait()
        try:
            wait()
        except KeyboardInterrupt:
            worker.join()
            say("worker", worker.exitcode)
        """,
        (-signal.SIGINT,),
        leaks=False,
    ),
    "a worker that CTRL-C is not for": Case(
        """
        def work(begun):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            begun.set()
            time.sleep(1)
            say("worked")
        ---
        begun = ctx.Event()
        ctx.Process(target=work, args=(begun,)).start()
        begun.wait()
        try:
            wait()
        except KeyboardInterrupt:
            say("main is over")
        """,
        (-signal.SIGINT,),
        leaks=False,
    ),
    "a handler of its own": Case(
        """
        ---
        lock = ctx.Lock()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
        wait()
        """,
        (signal.SIGTERM,),
        leaks=False,
    ),
    "a signal that is ignored": Case(
        """
        ---
        lock = ctx.Lock()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        lock = ctx.Lock()
        signal.raise_signal(signal.SIGTERM)
        say("lives")
        """,
        leaks=False,
    ),
    "an error": Case("---\nlock = ctx.Lock()\n1 / 0", leaks=False),
    "nothing of multiprocessing": Case("---\nsay(sys.argv[1])"),
}


NAMES = tuple(PROGRAMS) if kit.LONG else NAMES_BY_DEFAULT


def run(case: Case, folder: Path, python: str, method: str, *, by_run: bool) -> Outcome:
    """Run a program to its end."""
    head, _, main = textwrap.dedent(case.text).partition("---\n")
    path = folder / "program.py"
    guarded = "if __name__ == '__main__':\n" + textwrap.indent(main, "    ")
    path.write_text(PROLOGUE + head + guarded)
    command = [python, "-u", "-W", "ignore::DeprecationWarning", str(path), method]
    with Server(*(RUN if by_run else ()), *command, cwd=folder) as server:
        if case.stops:
            server.wait_for_text(kit.READY)
        for signum in case.stops:
            server.signal(signum) if signum > 0 else server.signal_group(-signum)
        return server.finish(10)


def told(case: Case, outcome: Outcome) -> list[str]:
    """Return what the program says; and all that is printed, if it leaves nothing to complain of.

    The tracebacks of several workers are mixed up.
    """
    lines = kit.lines(outcome)
    return sorted(line for line in lines if not case.leaks or line.startswith("said: "))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("python", PYTHONS, ids=os.path.basename)
def test_a_program_ends_clean_and_as_without(
    name: str, method: str, python: str, tmp_path: Path
) -> None:
    case = PROGRAMS[name]
    within, without = (run(case, tmp_path, python, method, by_run=by) for by in (True, False))
    assert within.faults == (["1 tracebacks"] if name == "an error" else []), within.output
    assert told(case, within) == told(case, without), without.output
    if not without.hung:
        assert within.status == without.status


LEAKING = [name for name, case in PROGRAMS.items() if case.stops and case.leaks]


@pytest.mark.parametrize("name", LEAKING if kit.LONG else LEAKING[:1])
def test_without_the_command_it_does_not_end_clean(name: str, tmp_path: Path) -> None:
    # On a busy machine, a pool may end its workers before they have printed what CTRL-C did.
    runs = (run(PROGRAMS[name], tmp_path, BARE, "spawn", by_run=False) for _ in range(3))
    assert any(outcome.faults for outcome in runs)


# A worker by fork, of an app that a server serves, is no server.
A_WORKER_OF_AN_APP = """
import multiprocessing, sys
import uvicorn.lifespan.on
ctx = multiprocessing.get_context("fork")
def work():
    lock = multiprocessing.get_context("spawn").Lock()
    hook = sys.modules["_asgi_mpclean_clean_end"]
    print("library at work:", hook._Process.pid == hook.os.getpid())
lock = multiprocessing.get_context("spawn").Lock()
worker = ctx.Process(target=work)
worker.start()
worker.join()
work()
"""


def test_a_worker_by_fork_of_a_server_is_left_alone() -> None:
    command = [sys.executable, "-u", "-W", "ignore::DeprecationWarning", "-c", A_WORKER_OF_AN_APP]
    with Server(*RUN, *command) as server:
        outcome = server.finish()
    assert outcome.output.splitlines() == ["library at work: False", "library at work: True"]
    assert outcome.faults == []


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["no-such-command"], 127, "asgi-mpclean: no-such-command: command not found\n"),
        (["/nowhere/python"], 127, "asgi-mpclean: /nowhere/python: command not found\n"),
        (["/"], 126, "asgi-mpclean: /: Permission denied\n"),
        (["./text"], 126, "asgi-mpclean: ./text: Permission denied\n"),
        (["./no-program"], 126, "asgi-mpclean: ./no-program: Exec format error\n"),
        ([""], 127, "asgi-mpclean: '': command not found\n"),
        (["sh", "-c", "echo out; exit 7"], 7, "out\n"),
        (["sh", "-c", "kill -TERM $$"], -15, ""),
        (["{python}", "-c", "raise SystemExit(3)"], 3, ""),
        (["{python}", "-c", "import os; os._exit(4)"], 4, ""),
        (["{python}", "-Ic", "print(1)"], 0, "asgi-mpclean: -I keeps asgi-mpclean out"),
        (["{python}", "-W", "error", "-E", "-c", ""], 0, "asgi-mpclean: -E keeps asgi-mpclean out"),
        (["{python}", "-S", "-c", ""], 0, "asgi-mpclean: -S keeps asgi-mpclean out"),
        (["./isolated"], 0, "asgi-mpclean: -E keeps asgi-mpclean out"),
        (["env", "-i", "{python}", "-c", "import multiprocessing; print(1)"], 0, "1\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("python", PYTHONS, ids=os.path.basename)
def test_bad_input_is_told_as_a_shell_would(
    command: list[str], status: int, said: str, python: str, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "no-program").write_text("no program")
    (tmp_path / "no-program").chmod(0o755)
    (tmp_path / "isolated").write_text(f"#!{python} -sE\n")
    (tmp_path / "isolated").chmod(0o755)
    done = subprocess.run(
        [*RUN, *(word.format(python=python) for word in command)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == status
    assert done.stdout.startswith(said)
    assert TRACEBACK not in done.stdout


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("python -I app.py", "-I"),
        ("/usr/bin/python3.12 -uE app.py", "-E"),
        ("python3 -X dev -W error -S app.py", "-S"),
        ("python3 -Xdev -bS app.py", "-S"),
        ("python app.py -I", None),
        ("python -m app -E", None),
        ("python -mapp -E", None),
        ("python -c print() -S", None),
        ("python -WI app.py", None),
        ("python --version -I", None),
        ("python - -I", None),
        ("python", None),
        ("uvicorn app:app -S", None),
    ],
)
def test_an_option_that_shuts_out_is_known(command: str, flag: str | None) -> None:
    assert launch.shut_out_by(command.split()) == flag


def test_the_command_is_in_the_place_of_this_one() -> None:
    """Its pid is what was started, and it inherits no signal that Python ignores."""
    code = "import os, signal; print(os.getpid()); print(signal.getsignal(signal.SIGPIPE))"
    with Server(*RUN, "sh", "-c", f"grep SigIgn /proc/self/status; exec {BARE} -c '{code}'") as own:
        outcome = own.finish()
        ignored, pid, _pipe = outcome.output.splitlines()
        assert int(pid) == own.pid
        assert int(ignored.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0
