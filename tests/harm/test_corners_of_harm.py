"""PID 1, forks in the middle of a clean-up, threads as workers, a library switched off."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

long = pytest.mark.skipif(not kit.LONG, reason="--long")

# PID 1 --------------------------------------------------------------------------------------------

PID_1 = {
    "a script": """
        import multiprocessing, os, time
        import asgi_mpclean
        queue = asgi_mpclean.register(multiprocessing.get_context("spawn").Queue(), on_item=print)
        queue.put("item")
        time.sleep(0.1)
        print("ready", os.getpid(), flush=True)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            time.sleep(0.05)
        print("lived on", flush=True)
        """,
    "a worker too": """
        import multiprocessing, os, time
        import asgi_mpclean
        if __name__ == "__main__":
            process = asgi_mpclean.Process(target=time.sleep, args=(60,))
            process.start()
            queue = asgi_mpclean.register(multiprocessing.Queue(), on_item=print)
            queue.put("item")
            time.sleep(0.1)
            print("ready", os.getpid(), flush=True)
            until = time.monotonic() + 5
            while time.monotonic() < until:
                time.sleep(0.05)
            print("lived on", flush=True)
        """,
}


needs_namespace = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="a PID namespace needs root",
)


@contextlib.contextmanager
def first_process(path: Path, env: dict[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program as PID 1 of a PID namespace, until it is ready."""
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with subprocess.Popen(
        [*namespace, sys.executable, "-u", str(path), *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    ) as unshare:
        try:
            assert unshare.stdout is not None
            assert unshare.stdout.readline() == "ready 1\n"
            yield unshare
        finally:
            unshare.kill()


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


@needs_namespace
@pytest.mark.parametrize(
    ("what", "signum"),
    [
        ("a script", signal.SIGTERM),
        pytest.param("a script", signal.SIGHUP, marks=long),
        pytest.param("a worker too", signal.SIGTERM, marks=long),
    ],
)
def test_the_first_process_of_a_container_ends_as_one_that_a_signal_kills(
    what: str, signum: signal.Signals, tmp_path: Path
) -> None:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PID_1[what]))
    with first_process(path, {}) as unshare:
        assert unshare.stdout is not None
        began = time.monotonic()
        os.kill(child_of(unshare.pid), signum)
        assert unshare.stdout.read() == "item\n"
        status = unshare.wait()
    assert status in {128 + signum, -signum}
    assert time.monotonic() - began < 4


SERVER = """
    import multiprocessing, sys
    import asgi_mpclean, uvicorn
    spawn = multiprocessing.get_context("spawn")
    queues = [asgi_mpclean.register(spawn.Queue()), spawn.Queue()]
    queues = queues[:1] if sys.argv[1] == "registered" else queues[1:]
    async def plain(scope, receive, send):
        while scope["type"] == "lifespan":
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.startup":
                print("ready 1", flush=True)
            else:
                return
    uvicorn.run(asgi_mpclean.MPCleanLifespan(plain), port=0, log_level="error")
    for queue in queues:
        queue.put("item")
        print(queue.get(), flush=True)
    """


@needs_namespace
@pytest.mark.parametrize(
    ("signum", "queue"),
    [
        (signal.SIGTERM, "registered"),
        (signal.SIGTERM, "not registered"),
        pytest.param(signal.SIGINT, "registered", marks=long),
        pytest.param(signal.SIGINT, "not registered", marks=long),
    ],
)
def test_a_server_that_is_the_first_process_ends_as_it_does_alone(
    signum: signal.Signals, queue: str, tmp_path: Path
) -> None:
    """The kernel ignores the SIGTERM that uvicorn raises again, and the program goes on."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(SERVER))
    ends = []
    for env in ({"ASGI_MPCLEAN_DISABLE": "1"}, {}):
        with first_process(path, env, queue) as unshare:
            assert unshare.stdout is not None
            os.kill(child_of(unshare.pid), signum)
            ends.append((unshare.stdout.read(), unshare.wait(10)))
    assert ends[0] == ends[1]
    assert ends[0][0] == "item\n"


# Forks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "how"),
    [
        ("a callback", "Process"),
        ("another thread", "os.fork"),
        pytest.param("a callback", "os.fork", marks=long),
        pytest.param("another thread", "Process", marks=long),
    ],
)
def test_a_child_that_is_forked_during_a_clean_up_starts_anew(who: str, how: str) -> None:
    outcome = kit.run("forks.py", who, how, timeout=20)
    assert outcome.output.splitlines() == [
        "handlers changed: []",
        "cleaned: {(1, 1)}",
        "inherited: 0",
        "exit status 130",
    ]


# Threads as workers, sub-interpreters -------------------------------------------------------------

BY_THREADS = {
    "ThreadPool": "multiprocessing.pool.ThreadPool(1, initializer=worker_init)",
    "dummy.Pool": "multiprocessing.dummy.Pool(1, initializer=worker_init)",
    "ThreadPoolExecutor": "concurrent.futures.ThreadPoolExecutor(1, initializer=worker_init)",
    "InterpreterPoolExecutor": (
        "concurrent.futures.InterpreterPoolExecutor(1, initializer=worker_init)"
    ),
}
USE_THREADS = """
    import concurrent.futures, multiprocessing.dummy, multiprocessing.pool, os, signal, threading
    from asgi_mpclean import worker_init
    watchdog = threading.Timer(5, os._exit, (3,))
    watchdog.daemon = True
    watchdog.start()
    def handlers():
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    before = handlers()
    pool = {make}
    submit = getattr(pool, "submit", None) or pool.apply_async
    got = submit(divmod, *([7, 2] if hasattr(pool, "submit") else [(7, 2)]))
    print(got.result(5) if hasattr(got, "result") else got.get(5), handlers() == before)
    print(threading.active_count() < 8)
    (getattr(pool, "shutdown", None) or pool.terminate)()
    """


@pytest.mark.parametrize(
    "kind",
    [
        "ThreadPool",
        pytest.param("dummy.Pool", marks=long),
        "ThreadPoolExecutor",
        pytest.param(
            "InterpreterPoolExecutor",
            marks=pytest.mark.skipif(sys.version_info < (3, 14), reason="new in 3.14"),
        ),
    ],
)
def test_a_thread_takes_what_prepares_a_worker(kind: str) -> None:
    outcome = kit.run(USE_THREADS.format(make=BY_THREADS[kind]))
    assert outcome.output.splitlines() == ["(3, 1) True", "True"]
    assert outcome.status == 0


@pytest.mark.skipif(sys.version_info < (3, 14), reason="what multiprocessing needs is not ready")
@pytest.mark.parametrize("thing", ["Lock", "SimpleQueue"])
def test_a_sub_interpreter_cleans_up_without_signals(thing: str) -> None:
    outcome = kit.run(
        f"""
        from concurrent import interpreters
        interpreter = interpreters.create()
        interpreter.exec('''if True:
            import multiprocessing, asgi_mpclean
            held = asgi_mpclean.register(multiprocessing.get_context("spawn").{thing}())
            print("cleaned", len(asgi_mpclean.clean().resources))
            held = asgi_mpclean.register(multiprocessing.get_context("spawn").{thing}())
            ''')
        interpreter.close()
        print("done")
        """
    )
    assert outcome.output.splitlines() == ["cleaned 1", "done"]
    assert outcome.status == 0
    assert not outcome.leaked


# Switched off -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["spawn", pytest.param("fork", marks=long), pytest.param("forkserver", marks=long)]
)
def test_nothing_of_ours_is_seen_where_the_library_is_switched_off(method: str) -> None:
    plain, ours = (
        kit.run("disabled.py", method, whose, library=False) for whose in ("Python's", "ours")
    )
    assert "exit codes 1 -15" in plain.output
    assert kit.lines(ours) == kit.lines(plain)
    assert ours.status == plain.status


@pytest.mark.parametrize("library", [False, True], ids=["off", "on"])
def test_an_app_finds_its_registry_where_the_library_is_switched_off(library: bool) -> None:
    outcome = kit.run(
        """
        import asyncio
        import asgi_mpclean
        async def app(scope, receive, send):
            print("mpclean" in scope["state"])
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        async def main():
            messages = iter(["lifespan.startup", "lifespan.shutdown"])
            async def receive():
                return {"type": next(messages)}
            async def send(message):
                print(message["type"])
            await asgi_mpclean.MPCleanLifespan(app)({"type": "lifespan"}, receive, send)
        asyncio.run(main())
        """,
        library=library,
    )
    assert outcome.output.splitlines() == [
        "True",
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


EXEC = """
    import os, sys
    import {module} as os_or_ours
    import asgi_mpclean
    asgi_mpclean.guard_exec()
    print(os.execv.__name__, getattr(os.execv, "cleans_up", False))
    for name, *words in [("execv", "/no/such", ["x"]), ("execvp", "no-such", ["x"])]:
        try:
            getattr(os_or_ours, name)(*words)
        except OSError as error:
            print(type(error).__name__, error.errno, error.strerror, error.filename)
    os_or_ours.execv(sys.executable, [sys.executable, "-c", "print('replaced')"])
    """


def test_an_exec_is_that_of_os_where_the_library_is_switched_off() -> None:
    plain, ours = (
        kit.run(EXEC.format(module=module), library=False) for module in ("os", "asgi_mpclean")
    )
    assert plain.output.splitlines()[-1] == "replaced"
    assert ours.output == plain.output
