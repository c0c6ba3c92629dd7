"""Other platforms and other ways of running Python, as far as one Linux can look like them.

What looks like macOS and like musl is in `.ci/platforms`, where `.ci/macos` and `.ci/musl` run more
tests in it. Each program here is run in a process of its own, by the interpreter of the tests.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asgi_mpclean._check.shm import can_unshare
from asgi_mpclean._trace.launch import Run
from asgi_mpclean._trace.reading import Process, Trace
from asgi_mpclean._trace.unreached import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).parent
PLATFORMS = HERE.parent / ".ci" / "platforms"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="it makes a Linux look like another system"),
    pytest.mark.skipif(not PLATFORMS.exists(), reason="only the repository has .ci"),
]

PROLOGUE = f"""
import logging, multiprocessing as mp, os, signal, sys, threading, time
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
import asgi_mpclean, workers
from asgi_mpclean import Process, Registry
from feeders import wait_until_sent
SPAWN = mp.get_context("spawn")
"""


def run(
    body: str,
    tmp_path: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
    prefix: Sequence[str] = (),
) -> list[str]:
    """Run a program to its end; returns what it printed, and what it was warned of."""
    program = tmp_path / "program.py"
    body = textwrap.indent(textwrap.dedent(body), "    ")
    program.write_text(f"{PROLOGUE}\nif __name__ == '__main__':\n{body}")
    ended = subprocess.run(
        [*prefix, sys.executable, *options, str(program)],
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=40,
        check=False,
        preexec_fn=before,
    )
    return [*ended.stdout.splitlines(), *([f"status {ended.returncode}"] * (ended.returncode != 0))]


@functools.cache
def built(source: str, folder: Path) -> str:
    """Compile a library of `.ci/platforms`; returns its path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    to = folder / f"{Path(source).stem}.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(to), str(PLATFORMS / source)], check=True
    )
    return str(to)


# macOS ------------------------------------------------------------------------------------------


@pytest.fixture
def macos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a program that takes this system for macOS."""
    library = built("macos/libproc.c", tmp_path_factory.getbasetemp())
    path = os.pathsep.join([str(PLATFORMS / "macos"), os.environ.get("PYTHONPATH", "")])
    return {"LIKE_MACOS": "yes", "LD_PRELOAD": library, "PYTHONPATH": path}


def test_what_looks_like_macos_has_nothing_else(macos: dict[str, str], tmp_path: Path) -> None:
    body = """
    import select
    reader, writer = os.pipe(); os.close(writer)
    poll = select.poll(); poll.register(reader, select.POLLIN)
    print(sys.platform, os.path.exists("/proc/self"), hasattr(os, "pidfd_open"), select.PIPE_BUF)
    print(poll.poll(0) == [(reader, select.POLLIN | select.POLLHUP)], mp.get_start_method())
    try: mp.Queue().qsize()
    except NotImplementedError: print("no qsize")
    """
    assert run(body, tmp_path, env=macos) == ["darwin False False 512", "True spawn", "no qsize"]


# Nobody hears the resource tracker.
LEAKS = """
import multiprocessing, os, time
from multiprocessing.shared_memory import SharedMemory
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
spawn = multiprocessing.get_context("spawn")

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

if multiprocessing.parent_process() is None:
    queue = spawn.Queue()
    block = SharedMemory(create=True, size=10)
"""
ORPHAN = "    spawn.Process(target=time.sleep, args=(600,)).start()\n"
REGISTERED = """
    import asgi_mpclean
    asgi_mpclean.register(queue)
    asgi_mpclean.register(block)
    app = asgi_mpclean.MPCleanLifespan(app)
"""


@pytest.mark.parametrize(
    ("code", "faults"),
    [
        (
            LEAKS,
            ["3 semaphores leaked: Queue at main.py:14", "1 memory block leaked: SharedMemory at "],
        ),
        (
            LEAKS + ORPHAN,
            ["3 semaphores leaked: Queue at main.py:14", "1 memory block leaked: ", "orphan: "],
        ),
        (LEAKS + REGISTERED, []),
    ],
    ids=["leaks", "leaks and leaves an orphan", "clean"],
)
def test_check_counts_by_the_trace(
    macos: dict[str, str], tmp_path: Path, code: str, faults: list[str]
) -> None:
    (tmp_path / "main.py").write_text(code)
    path = os.pathsep.join([macos["PYTHONPATH"], str(HERE.parent)])
    command = [sys.executable, "-m", "asgi_mpclean", "check", "main:app", "--signal", "term"]
    done = subprocess.run(
        [*command, "--json"],
        cwd=tmp_path,
        env={**os.environ, **macos, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == bool(faults), done.stderr
    told = json.loads(done.stdout)
    assert (told["platform"], told["leaks_counted_by"]) == ("darwin", "trace")
    assert told["remarks"] == ["leaked: what the trace has seen"]
    (one,) = told["runs"]
    found = [finding["fault"] for finding in one["findings"]]
    assert len(found) == len(faults), found
    assert all(map(str.startswith, found, faults)), found
    assert one["warnings"] == []
    assert one["leaked"] == ({"semaphore": 3, "shared_memory": 1} if faults else {})


@pytest.mark.parametrize("exited", [0, 1])
@pytest.mark.parametrize("shows_disk", [True, False])
def test_a_killed_resource_tracker_is_said_where_nothing_else_tells(
    exited: int, shows_disk: bool
) -> None:
    tracker = Process(2, is_tracker=True, exited=exited)
    trace = Trace([Process(1, registers=True), tracker], [(1, 1)], {})
    run = Run(("x",), 1, 0, trace, {}, {}, frozenset(), shows_disk=shows_disk)
    said = [words for words in unknown(run) if "did not come to its end" in words]
    assert len(said) == (not exited and not shows_disk)


# A worker that dies while it waits in `get` takes the readers' lock with it.
DEAD_READER = """
got, registry = [], Registry()
jobs = registry.register(SPAWN.Queue(), on_item=got.append)
worker = SPAWN.Process(target=workers.{target}, args=(jobs,))
worker.start()
while not jobs._rlock._semlock._is_zero(): time.sleep(0.01)
worker.kill(); worker.join()
for number in range(10): jobs.put(number)
wait_until_sent(jobs)
report = registry.clean({timeout})
print(report.delivered, report.dropped, got)
"""
LIVING_READER = """
registry, ready = Registry(), SPAWN.Event()
jobs = registry.register(SPAWN.Queue(), on_item=print)
SPAWN.Process(target=workers.hold, args=(jobs._rlock, ready), daemon=True).start()
ready.wait(20)
for number in range(10): jobs.put(number)
wait_until_sent(jobs)
report = registry.clean(2)
print(report.delivered, report.dropped > 0)
"""
RESTART_IN_FORK = """
{before}
if "DEPTH" in os.environ: sys.exit("it runs again")
os.environ["DEPTH"] = "1"
if os.fork() == 0:
    {after}
    try: asgi_mpclean.restart()
    except RuntimeError as error: print(str(error).partition(";")[0], flush=True)
    os._exit(0)
os.wait()
"""
# The second block has the name of the first, which the app has unlinked.
LATER_BLOCK = """
from multiprocessing import resource_tracker, shared_memory
registry, name = Registry(), "mpclean" + str(os.getpid())
block = registry.register(shared_memory.SharedMemory({name}, create=True, size=100))
block.buf[0] = 1
if {replaced}:
    block.unlink()
    later = shared_memory.SharedMemory(block.name, create=True, size=100)
    later.buf[0] = 2
print(registry.clean(2).resources[0].outcome)
if {replaced}: later.unlink(); print("the later block is there")
"""
COMPUTING = """
registry, got = Registry(), []
results = registry.register(SPAWN.Queue(), on_item=got.append)
worker = registry.register(SPAWN.Process(target=workers.compute, args=(results, 1.0)))
worker.start()
workers.prefer(worker.pid)
results.get(timeout=20)
report = registry.clean(20)
print(report.joined, report.forced, got)
"""
IDLE = """
registry, ready = Registry(), SPAWN.Event()
registry.register(SPAWN.Process(target=workers.sleep, args=(ready,))).start()
ready.wait(20)
report = registry.clean(20)
print(report.forced, report.seconds < 3)
"""
REFUSED = "cannot restart a worker process"


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        (
            DEAD_READER.format(target="read_for_ever", timeout=5),
            ["10 0 [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"],
        ),
        (LIVING_READER, ["0 True"]),
        (RESTART_IN_FORK.format(before="asgi_mpclean.register", after=""), [REFUSED]),
        (
            RESTART_IN_FORK.format(
                before="for name in [*sys.modules]:\n"
                '    if name.startswith("asgi_mpclean"): del sys.modules[name]',
                after="import asgi_mpclean",
            ),
            [REFUSED],
        ),
        (
            LATER_BLOCK.format(name="name", replaced=True),
            ["already unlinked", "the later block is there"],
        ),
        (LATER_BLOCK.format(name="name", replaced=False), ["unlinked"]),
        (LATER_BLOCK.format(name="None", replaced=False), ["unlinked"]),
        (COMPUTING, ["1 0 ['done']"]),
        (IDLE, ["1 True"]),
    ],
    ids=[
        "items behind a dead reader",
        "items behind a living reader",
        "restart in a fork",
        "restart in a fork that imports later",
        "a later block of the same name",
        "a block of a chosen name",
        "a block of a random name",
        "a worker that computes",
        "a worker that waits",
    ],
)
def test_on_macos(body: str, printed: list[str], macos: dict[str, str], tmp_path: Path) -> None:
    assert [
        line for line in run(body, tmp_path, env=macos) if "asgi_mpclean:" not in line
    ] == printed


# musl -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_the_semaphores_of_a_killed_worker_are_unlinked_by_the_names_of_musl(
    method: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    body = f"""
    context, registry = mp.get_context({method!r}), Registry()
    lock = registry.register(SPAWN.Lock())  # By it the tracker runs, which a fork shares.
    ours, theirs = context.Pipe()
    worker = context.Process(target=workers.make_lock_and_sleep, args=(theirs,))
    registry.register(worker); worker.start()
    ours.poll(20); path = "/dev/shm" + ours.recv()
    print(os.path.exists(path))
    report = registry.clean(2)
    print(report.resources[1].semaphores, os.path.exists(path))
    """
    library = built("musl.c", tmp_path_factory.getbasetemp())
    assert run(body, tmp_path, env={"LD_PRELOAD": library}) == ["True", "1 False"]


# Ways of running Python -------------------------------------------------------------------------

# A worker that writes, one that waits, items left: whatever the way, the same becomes of them.
PROGRAM = """
{first}
registry, got = Registry(), []
results = registry.register(SPAWN.Queue(), on_item=got.append)
ready = registry.register(SPAWN.Event())
context = mp.get_context({method!r})
Process(target=workers.fill, args=(results, 300), ctx=context, registry=registry).start()
Process(target=workers.sleep, args=(ready,), ctx=context, registry=registry).start()
first = results.get(timeout=20)
ready.wait(20)
report = registry.clean(10)
print(len(got) + 1, got == sorted(got), report.dropped, report.semaphores)
"""
# The forks are made on purpose.
FORKS = ["-W", "ignore::DeprecationWarning"]
SAME = ["300 True 0 8"]
# Another user cannot read everything: what is needed is loaded before, and workers are forks.
NOT_ROOT = """
import ctypes, gc, multiprocessing.popen_fork
asgi_mpclean.clean(); SPAWN.Lock(); gc.collect(); os.setgid(65534); os.setuid(65534)
"""
PYPY_ASKS = "Warning: cannot find your CPU L2 cache size"  # Each process of it, without /proc.
NO_PROC = ["sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
PRIVATE = ["unshare", "--mount", "--propagation", "private"]
SMALL_PIPES = """
import fcntl
_pipe = os.pipe
def pipe():
    ends = _pipe()
    fcntl.fcntl(ends[1], 1031, 8192)
    return ends
os.pipe = pipe
"""


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


@pytest.mark.parametrize(
    ("options", "env"),
    [
        (["-O"], {}),
        (["-OO"], {}),
        (["-I"], {}),
        (["-E", "-s"], {}),
        (["-X", "dev"], {}),
        (["-W", "error"], {}),
        ([], {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    ],
    ids=lambda value: " ".join(value) if value else "",
)
def test_options_of_python_change_nothing(
    options: list[str], env: dict[str, str], tmp_path: Path
) -> None:
    body = PROGRAM.format(first="", method="spawn")
    assert run(body, tmp_path, *options, env=env) == SAME


@pytest.mark.parametrize(
    ("first", "method", "prefix"),
    [(NOT_ROOT, "fork", []), ("", "spawn", [*PRIVATE, *NO_PROC])],
    ids=["not root", "no proc"],
)
def test_what_only_root_can_take_away_changes_nothing(
    first: str, method: str, prefix: list[str], tmp_path: Path
) -> None:
    if not can_unshare():
        pytest.skip("only root can, outside a sandbox")
    body = PROGRAM.format(first=first, method=method)
    lines = run(body, tmp_path, *FORKS, prefix=prefix)
    assert [line for line in lines if not line.startswith(PYPY_ASKS)] == SAME


@pytest.mark.parametrize(
    ("first", "before"),
    [("", few_descriptors), (SMALL_PIPES, None)],
    ids=["64 descriptors", "8 KiB pipes"],
)
def test_less_of_the_system_changes_nothing(
    first: str, before: Callable[[], None] | None, tmp_path: Path
) -> None:
    body = PROGRAM.format(first=first, method="spawn")
    assert run(body, tmp_path, before=before) == SAME


# No threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_lifespan_ends_where_no_thread_can_be_started(backend: str, tmp_path: Path) -> None:
    """As with a limit of processes, which threads count for: here, each is to have 64 TiB."""
    body = f"""
    import anyio
    async def main():
        async with asgi_mpclean.mpclean_lifespan(timeout=3)(None):
            queue = asgi_mpclean.register(SPAWN.Queue(), on_item=print)
            for number in range(3): queue.put(number)
            threading.stack_size(1 << 46)
            try: threading.Thread(target=print).start()
            except RuntimeError: print("no thread")
    anyio.run(main, backend={backend!r})
    print("the end")
    """
    assert run(body, tmp_path) == ["no thread", "0", "1", "2", "the end"]


def test_a_worker_runs_where_it_can_start_no_thread(tmp_path: Path) -> None:
    body = """
    threading.stack_size(1 << 46)  # A fork inherits it.
    registry, context = Registry(), mp.get_context("fork")
    worker = Process(target=print, args=("it works",), ctx=context, registry=registry)
    worker.start(); worker.join(20)
    print(worker.exitcode)
    """
    assert run(body, tmp_path, *FORKS) == ["it works", "0"]
