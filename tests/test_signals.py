"""Scripts in processes of their own: real signals, real exits, and what is left afterwards.

Each script registers a queue with three items and one worker that is not registered, then waits for
its end. What it printed is compared whole.
"""

from __future__ import annotations

import signal
import textwrap
import time
from pathlib import Path

import pytest
from script import DELIVERED, SLEEP, WAIT, Script

FILES = """
import multiprocessing.connection
import tempfile
folder = tempfile.tempdir = tempfile.mkdtemp(dir="/tmp")
say(folder)
queue = mail()
listener = multiprocessing.connection.Listener(family="AF_UNIX")
manager = multiprocessing.get_context("forkserver").Manager()
"""


def test_a_signal_leaves_no_socket_and_no_temporary_directory() -> None:
    script = Script(FILES + WAIT)
    assert script.process.stdout is not None
    folder = Path(script.process.stdout.readline().strip())
    status, lines = script.ready().send(signal.SIGTERM).end()
    assert (status, lines) == (-signal.SIGTERM, DELIVERED)
    assert list(folder.iterdir()) == []
    folder.rmdir()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT"])
def test_a_signal_that_would_kill_cleans_up_first(name: str) -> None:
    signum = getattr(signal, name)
    status, lines = Script("queue = mail()\n" + WAIT).ready().send(signum).end()
    assert (status, lines) == (-signum, DELIVERED)


@pytest.mark.parametrize(
    ("module", "function", "made"),
    [
        ("_multiprocessing", "SemLock", "ctx.Lock()"),
        ("_posixshmem", "shm_open", "shared_memory.SharedMemory(create=True, size=10)"),
        (
            "multiprocessing.util",
            "spawnv_passfds",
            "ctx.Process(target=time.sleep, args=(60,)).start()",
        ),
    ],
)
def test_what_is_just_being_made_is_finished_and_cleaned_up(
    module: str, function: str, made: str
) -> None:
    """The signal comes when the system has made it, and nothing in Python knows it yet."""
    body = f"""
    import {module} as module
    from multiprocessing import shared_memory
    queue = asgi_mpclean.register(ctx.Queue())
    make = module.{function}
    def make_and_be_killed(*args, **options):
        module.{function} = make
        thing = make(*args, **options)
        say(*(word for word in args if str(word).startswith("/")))
        os.kill(os.getpid(), signal.SIGTERM)
        return thing
    module.{function} = make_and_be_killed
    thing = {made}
    {SLEEP}
    """
    status, lines = Script(body).end()
    assert (status, len(lines)) == (-signal.SIGTERM, 1), lines
    name = lines[0].strip("/")
    assert not [path for path in Path("/dev/shm").glob("*") if name and name in path.name]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT"])
def test_a_signal_that_would_kill_in_a_lifespan_cleans_up_first(name: str) -> None:
    body = f"""
    import asyncio
    async def app(scope, receive, send):
        for _ in range(2):
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
    async def main():
        messages = ["lifespan.startup"]
        async def receive():
            if not messages: os.kill(os.getpid(), signal.{name})
            return {{"type": messages.pop()}}
        async def send(message): say(message["type"])
        await asgi_mpclean.MPCleanLifespan(app)({{"type": "lifespan"}}, receive, send)
    queue = mail()
    asyncio.run(main())
    """
    expected = (-getattr(signal, name), ["lifespan.startup.complete", *DELIVERED])
    assert Script(body).end() == expected


def test_ctrl_c_in_a_script_keeps_its_traceback_and_status() -> None:
    status, lines = Script("queue = mail()\n" + WAIT).ready().send(signal.SIGINT).end()
    assert status == -signal.SIGINT
    assert lines[0].startswith("Traceback")
    assert lines[-4:] == ["KeyboardInterrupt", *DELIVERED]


def test_an_ignored_sighup_stays_ignored() -> None:
    """As under nohup."""

    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    body = "queue = mail()\n" + WAIT
    script = Script(body, before=nohup).ready().send(signal.SIGHUP).send(signal.SIGTERM)
    assert script.end() == (-signal.SIGTERM, DELIVERED)


def test_somebody_elses_handler_is_left_alone() -> None:
    body = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    queue = mail()
    """
    status, lines = Script(textwrap.dedent(body) + WAIT).ready().send(signal.SIGTERM).end()
    assert (status, lines) == (7, DELIVERED)


def test_no_handler_is_installed_from_another_thread() -> None:
    body = """
    thread = threading.Thread(target=mail)
    thread.start(); thread.join()
    say(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    """
    assert Script(body).end() == (0, ["True", *DELIVERED])


def test_when_nothing_is_registered_any_more_the_signal_is_as_before() -> None:
    body = """
    queue = mail()
    asgi_mpclean.clean()
    say([signal.getsignal(s) == signal.SIG_DFL for s in (signal.SIGTERM, signal.SIGHUP)])
    """
    assert Script(body).end() == (0, [*DELIVERED, "[True, True]"])


def test_the_end_of_the_script_cleans_up() -> None:
    assert Script("queue = mail()").end() == (0, DELIVERED)


def test_an_exit_from_another_thread_cleans_up() -> None:
    body = """
    queue = mail()
    thread = threading.Thread(target=lambda: (atexit._run_exitfuncs(), os._exit(3)))
    thread.start()
    thread.join()
    """
    assert Script(body).end() == (3, DELIVERED)


def test_an_on_item_that_blocks_at_exit_is_bounded() -> None:
    body = """
    asgi_mpclean.MPCleanLifespan(print, timeout=1)
    logging.basicConfig(format="%(message)s")
    queue = mail(on_item=lambda item: time.sleep(60))
    """
    status, lines = Script(body).end()
    assert status == 0
    assert "3 items dropped" in lines[0]


def test_a_script_whose_pipe_is_full_ends() -> None:
    body = """
    queue = asgi_mpclean.register(ctx.Queue(), on_item=got.append)
    for number in range(2000): queue.put(b"x" * 1024)
    from asgi_mpclean._shutdown.triggers import _at_exit
    atexit.unregister(_at_exit)
    atexit.register(lambda: say(len(got)))
    atexit.register(_at_exit)
    """
    assert Script(body).end() == (0, ["2000"])


def test_without_a_lifespan_an_unregistered_worker_is_waited_for_as_python_does() -> None:
    body = """
    queue = mail()
    event = ctx.Event()
    results = ctx.Queue()
    worker = ctx.Process(target=workers.fill, args=(results, 3))
    worker.start()
    results.get()
    """
    assert Script(body).end() == (0, DELIVERED)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_daemon_thread_that_cleans_while_python_ends_does_not_hang_it(moment: str) -> None:
    body = """
    queue = mail(lambda item: time.sleep(600))
    ready = ctx.Event()
    asgi_mpclean.Process(target=workers.sleep, args=(ready,), ctx=ctx).start()
    ready.wait()
    from asgi_mpclean._shutdown.state import Policy, set_policy
    set_policy(Policy(timeout=2))
    def clean():
        if MOMENT == "after":
            threading.main_thread().join()
        asgi_mpclean.clean(timeout=2)
    threading.Thread(target=clean, daemon=True).start()
    time.sleep(0.2)
    say("end")
    """
    began = time.monotonic()
    status, lines = Script(body.replace("MOMENT", repr(moment))).end()
    assert (status, lines[0]) == (0, "end")
    assert "3 items dropped" in "".join(lines)
    assert time.monotonic() - began < 8


def test_with_a_wrapped_app_what_is_not_registered_is_found_at_exit() -> None:
    body = """
    asgi_mpclean.MPCleanLifespan(print, on_report=lambda report: say(report.trigger))
    results = ctx.Queue()
    worker = ctx.Process(target=workers.fill, args=(results, 1000))
    worker.start()
    results.get()
    """
    status, lines = Script(body).end()
    # Not registered, the worker's 999 other results have nobody to go to, which is said.
    assert status == 0
    assert lines == ["asgi_mpclean: Queue __main__.results: 999 items dropped", "exit"]


@pytest.mark.parametrize(
    "send",
    [
        "os.kill(os.getpid(), signal.SIGTERM)",
        # The main thread is woken in the middle of its waiting.
        "time.sleep(0.05); signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)",
    ],
    ids=["to any thread", "to the main thread"],
)
def test_a_signal_during_the_clean_up_comes_after_it(send: str) -> None:
    body = f"""
    def on_item(item):
        if item == 0: {send}
        say("item", item)
    queue = mail(on_item)
    asgi_mpclean.clean()
    say("never")
    """
    assert Script(body).end() == (-signal.SIGTERM, DELIVERED)


def test_ctrl_c_during_the_clean_up_comes_after_it() -> None:
    body = """
    def on_item(item):
        if item == 0: os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        say("item", item)
    queue = mail(on_item)
    try:
        asgi_mpclean.clean()
    except KeyboardInterrupt:
        say("interrupted")
    """
    assert Script(body).end() == (0, [*DELIVERED, "interrupted"])


def test_a_signal_in_the_middle_of_a_put_does_not_deadlock() -> None:
    body = """
    queue = mail()
    queue._notempty.acquire()  # As if the signal came while the main thread was inside put().
    """
    status, lines = Script(textwrap.dedent(body) + WAIT).ready().send(signal.SIGTERM).end()
    assert (status, lines) == (-signal.SIGTERM, DELIVERED)


def test_disabled_the_library_does_nothing() -> None:
    script = Script("queue = mail()\n" + WAIT, env={"ASGI_MPCLEAN_DISABLE": "1"})
    status, lines = script.ready().send(signal.SIGTERM).end()
    assert status == -signal.SIGTERM
    assert not set(DELIVERED) & set(lines)
    assert any("There appear to be 3 leaked semaphore objects" in line for line in lines)


@pytest.mark.parametrize(
    "disabled",
    ["", "1"],
)
def test_disabled_a_process_is_pythons_own(disabled: str) -> None:
    """Its signals, its threads and its registration are those of `multiprocessing.Process`."""
    body = """
    process = asgi_mpclean.Process(target=workers.say_how_it_lives, ctx=ctx)
    process.start(), process.join()
    say("registered", process in asgi_mpclean.default_registry)
    """
    plain, ours = (
        Script(text, env={"ASGI_MPCLEAN_DISABLE": disabled}).end()
        for text in (
            body.replace("asgi_mpclean.Process", "ctx.Process").replace(", ctx=ctx", ""),
            body,
        )
    )
    assert (ours == plain) == bool(disabled)
