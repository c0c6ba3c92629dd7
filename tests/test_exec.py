"""Scripts that replace themselves by another program: what it gets, and what is left.

Each script registers a queue with three items; what it and the next program print is compared
whole, so that a warning of the resource tracker or a second delivery would be seen.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from script import DELIVERED, Script

from asgi_mpclean._exec import exec as own

if TYPE_CHECKING:
    from collections.abc import Iterator

NEXT = Path(__file__).with_name("next_image.py")

HEAD = f"""
import errno, pathlib, tempfile
PY, NEXT = {sys.executable!r}, {str(NEXT)!r}
ENV = dict(os.environ, MARK="new")
tempfile.tempdir = os.environ["TMPDIR"]
def go(): asgi_mpclean.execv(PY, [PY, "-u", NEXT, "a"])
"""
RAN = "a old"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let PATH lead past a file without its run bit to the program, and temporary files be ours."""
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    (tmp_path / "first" / "prog").write_text("not to be run")
    (tmp_path / "second" / "prog").symlink_to(sys.executable)
    path = f"{tmp_path}/none:{tmp_path}/first:{tmp_path}/second:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    # The address of a socket, which managers and the fork server have there, must not be long.
    monkeypatch.setenv("TMPDIR", short := tempfile.mkdtemp())
    monkeypatch.setenv("MARK", "old")
    # Scripts run from here, to find files by their relative names.
    monkeypatch.chdir(tmp_path)
    yield
    shutil.rmtree(short)


def end(body: str, script: type[Script] = Script) -> list[str]:
    status, lines = script(HEAD + textwrap.dedent(body)).end(30)
    assert status == 0, lines
    return lines


# The family ---------------------------------------------------------------------------------------

CALLS = [
    ("execv(PY, [PY, NEXT, 'a'])", RAN),
    ("execv(os.fsencode(PY), (os.fsencode(PY), NEXT.encode(), pathlib.Path('a')))", RAN),
    ("execv(pathlib.Path(PY), [PY, NEXT, 'a'])", RAN),
    ("execv('second/prog', [PY, NEXT, 'a'])", RAN),
    ("execl(PY, PY, NEXT, 'a')", RAN),
    ("execvp('prog', [PY, NEXT, 'a'])", RAN),
    ("execvp(b'prog', [PY, NEXT, 'a'])", RAN),
    ("execvp('second/prog', [PY, NEXT, 'a'])", RAN),
    ("execlp('prog', PY, NEXT, 'a')", RAN),
    ("execve(PY, [PY, NEXT, 'a'], ENV)", "a new"),
    ("execve(path=PY, argv=[PY, NEXT, 'a'], env=ENV)", "a new"),
    ("execve(os.open(PY, os.O_RDONLY), [PY, NEXT, 'a'], ENV)", "a new"),
    ("execle(PY, PY, NEXT, 'a', ENV)", "a new"),
    ("execvpe('prog', [PY, NEXT, 'a'], ENV)", "a new"),
    ("execlpe('prog', PY, NEXT, 'a', ENV)", "a new"),
]


@pytest.mark.parametrize("guarded", [False, True], ids=["ours", "guarded os"])
@pytest.mark.parametrize(("call", "ran"), CALLS)
@pytest.mark.sampled(3)
def test_each_function_cleans_up_and_runs_the_program(call: str, ran: str, guarded: bool) -> None:
    owner = "os" if guarded else "asgi_mpclean"
    guard = "asgi_mpclean.guard_exec()" if guarded else ""
    assert end(f"{guard}\nqueue = mail()\n{owner}.{call}") == [*DELIVERED, ran]


def test_guarding_twice_is_guarding_once() -> None:
    body = """
    asgi_mpclean.guard_exec()
    guarded = os.execv, os.execve
    asgi_mpclean.guard_exec()
    say(guarded == (os.execv, os.execve))
    """
    assert end(body) == ["True"]


WRONG = [
    "execv('/nowhere/python', ['x'])",
    "execv('/tmp', ['x'])",
    "execv('first/prog', ['x'])",
    "execv('first/prog/x', ['x'])",
    "execv('nul\\0', ['x'])",
    "execv(os.open(PY, os.O_RDONLY), ['x'])",
    "execv(None, ['x'])",
    "execv(PY, [])",
    "execv(PY, [''])",
    "execv(PY, 'x')",
    "execv(PY, ['x', 3])",
    "execv(PY, ['x\\0'])",
    "execve(PY, ['x'], None)",
    "execve(PY, ['x'], {'a': 3})",
    "execve(PY, ['x'], {'a=b': 'c'})",
    "execve(3.5, ['x'], ENV)",
    "execve(os.open('first/prog', os.O_RDONLY), ['x'], ENV)",
    "execl(PY)",
    "execvp('no-such-program', ['x'])",
    "execvp('./no-such-program', ['x'])",
    "execvpe('prog', ['x'], {'PATH': 'none:first:none'})",
]


@pytest.mark.parametrize("guarded", [False, True], ids=["ours", "guarded os"])
@pytest.mark.parametrize("call", WRONG)
def test_one_that_cannot_work_cleans_nothing_and_raises_as_os_does(
    call: str, guarded: bool
) -> None:
    body = f"""
    queue = mail()
    def tried(module):
        try: module.{call}
        except Exception as error: return type(error).__name__, getattr(error, "errno", 0), error
    expected = tried(os)
    asgi_mpclean.guard_exec() if {guarded} else None
    got = tried(os if {guarded} else asgi_mpclean)
    say(got[:2] == expected[:2] or (got, expected), len(asgi_mpclean.default_registry))
    told = "nothing was cleaned up" in str(got[2])
    say(told == (isinstance(got[2], OSError) and not {guarded}) or got)
    """
    assert end(body) == ["True 1", "True", *DELIVERED]


def test_windows_finds_an_empty_name_invalid_and_that_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(own, "_os_execv", refuse)
    monkeypatch.setattr(own, "_os_execve", refuse)
    assert own.check([sys.executable], ["python"]) == [sys.executable]
    assert own.check([sys.executable], ["python"], {}) == [sys.executable]


def test_when_it_fails_after_all_the_error_says_that_the_clean_up_is_done(tmp_path: Path) -> None:
    program = tmp_path / "no-format"
    program.write_bytes(b"\x00")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    body = f"""
    queue = mail()
    try: asgi_mpclean.execv({str(program)!r}, ["x"])
    except OSError as error: say(error.errno == errno.ENOEXEC, error)
    mail()
    """
    told = f"[Errno 8] Exec format error; the clean-up has been done: {str(program)!r}"
    assert end(body) == [*DELIVERED, f"True {told}", *DELIVERED]


# From where ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "caller",
    [
        "threading.Thread(target=go).start(); time.sleep(60)",
        "asyncio.run(in_loop())",
        "asyncio.run(asyncio.wait_for(asyncio.to_thread(go), 60))",
        "signal.signal(signal.SIGUSR1, lambda *_: go()); os.kill(os.getpid(), signal.SIGUSR1)",
        "atexit.register(go)",
        "with asgi_mpclean.Registry(): go()",
    ],
    ids=["thread", "event loop", "thread of a loop", "signal handler", "exit", "with block"],
)
def test_it_works_from(caller: str) -> None:
    body = f"""
    import asyncio
    async def in_loop(): go()
    queue = mail()
    {caller}
    """
    assert end(body) == [*DELIVERED, RAN]


def test_a_signal_handler_does_not_wait_for_a_log_that_it_interrupts() -> None:
    body = """
    class Interrupted(logging.Handler):
        own = threading.Lock()
        def emit(self, record):
            with self.own: os.kill(os.getpid(), signal.SIGUSR1)
    logger = logging.getLogger("asgi_mpclean")
    logger.setLevel(logging.INFO)
    logger.addHandler(Interrupted())
    signal.signal(signal.SIGUSR1, lambda *_: go())
    queue = mail()
    logger.info("interrupted")
    """
    assert end(body) == [*DELIVERED, RAN]


def test_it_waits_for_another_thread_that_cleans() -> None:
    body = """
    begun = threading.Event()
    def slow(item):
        begun.set(); time.sleep(0.2); say("item", item)
    queue = mail(slow)
    threading.Thread(target=asgi_mpclean.clean).start()
    begun.wait()
    go()
    """
    assert end(body) == [*DELIVERED, RAN]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.parametrize(
    "alive",
    [
        "ctx.Process(target=time.sleep, args=(600,)).start()",
        "ctx.Process(target=workers.fill, args=(mail(got.append), 500)).start()",
        "pool = ctx.Pool(2)",
        "manager = ctx.Manager()",
        "pool = concurrent.futures.ProcessPoolExecutor(1, ctx); pool.submit(abs, 1).result()",
    ],
    ids=["worker", "blocked worker", "pool", "manager", "executor"],
)
@pytest.mark.sampled(3)
def test_nothing_of_multiprocessing_lives_on(alive: str, method: str) -> None:
    body = f"""
    import concurrent.futures
    ctx = multiprocessing.get_context({method!r})
    queue = mail()
    {textwrap.indent(alive, "    ").strip()}
    go()
    """
    assert end(body) == [*DELIVERED, RAN]


@pytest.mark.parametrize("call", ["go()", "asgi_mpclean.restart()"])
def test_in_a_callback_of_a_clean_up_it_is_refused(call: str) -> None:
    body = f"""
    def on_item(item):
        try: {call}
        except RuntimeError as error: say("item", item, error)
    queue = mail(on_item)
    asgi_mpclean.clean()
    """
    refused = "cannot exec in a callback of a clean-up, which would be cut short"
    assert end(body) == [f"{line} {refused}" for line in DELIVERED]


def test_buffered_output_is_written_and_a_closed_stream_is_no_obstacle() -> None:
    body = """
    sys.stderr.close()
    sys.stdout = open(1, "w", closefd=False)
    print("buffered")
    go()
    """
    assert end(body) == ["buffered", RAN]


def test_it_follows_the_options_of_the_app_and_discovers_always() -> None:
    body = """
    def told(report): say(report.trigger, report.timeout, len(report.resources))
    async def app(scope, receive, send): pass
    app = asgi_mpclean.MPCleanLifespan(app, timeout=2.5, discover=False, on_report=told)
    queue = mail()
    unregistered = ctx.Queue()
    go()
    """
    assert end(body) == [*DELIVERED, "exec 2.5 2", RAN]


# What is inherited --------------------------------------------------------------------------------

EXEC_IN_START = """
class Exec:
    def __reduce__(self): go()  # Called while the process is started, with SIGINT blocked.
asgi_mpclean.Process(target=print, args=(Exec(),), ctx=ctx).start()
"""
EXEC_IN_WORKER = """
fork = multiprocessing.get_context("fork")
worker = asgi_mpclean.Process(target=go, ctx=fork)
worker.start(); worker.join()
"""


@pytest.mark.parametrize("body", [EXEC_IN_START, EXEC_IN_WORKER], ids=["in start", "in a worker"])
@pytest.mark.parametrize("ignored", [False, True])
def test_signals_are_inherited_as_they_were_found(body: str, ignored: bool) -> None:
    def before() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)

    status, lines = Script(HEAD + body, before=before).end()
    assert (status, lines) == (0, [f"{RAN} SIGINT ignored" if ignored else RAN])


@pytest.mark.parametrize("guarded", [False, True], ids=["ours", "guarded os"])
@pytest.mark.parametrize(
    "fork",
    [
        "if os.fork() == 0: go()\nos.wait()",
        "child = fork.Process(target=go)\nchild.start()\nchild.join()",
        "os.spawnv(os.P_WAIT, PY, [PY, '-u', NEXT, 'a'])",
    ],
    ids=["os.fork", "Process", "os.spawnv"],
)
def test_a_forked_child_leaves_the_parents_alone(fork: str, guarded: bool) -> None:
    body = f"""
    import concurrent.futures
    if {guarded}:
        asgi_mpclean.guard_exec()
        def go(): os.execv(PY, [PY, "-u", NEXT, "a"])
    queue = mail()
    fork = multiprocessing.get_context("fork")
    pool = concurrent.futures.ProcessPoolExecutor(1, ctx); pool.submit(abs, 1).result()
    tracker = multiprocessing.resource_tracker._resource_tracker._pid
    {textwrap.indent(fork, "    ").strip()}
    say(pool.submit(abs, -2).result())
    pool.shutdown()
    os.kill(tracker, 0)
    say(queue.get(timeout=5)); queue.put(3)
    """
    assert end(body) == [RAN, "2", "0", "item 1", "item 2", "item 3"]


def test_a_forked_child_sees_no_executor_of_its_parent() -> None:
    body = """
    import concurrent.futures
    from asgi_mpclean._cpython.executors import live_executors
    pool = concurrent.futures.ProcessPoolExecutor(1, ctx); pool.submit(abs, 1).result()
    if os.fork() == 0:
        say(live_executors()); os._exit(0)
    os.wait()
    say(len(live_executors()))
    pool.shutdown()
    """
    assert end(body) == ["[]", "1"]
