"""Signals in a process that was forked from one that handles them."""

from __future__ import annotations

import pytest
from script import DELIVERED, SLEEP, Script


@pytest.mark.parametrize(
    ("own_handler", "wait", "exitcode"),
    [
        ("", "time.sleep(60)", "-15"),
        ("", "threading.Thread(target=time.sleep, args=(60,)).start()", "-15"),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))", SLEEP, "7"),
    ],
    ids=["inherited", "inherited, at its end", "own"],
)
def test_sigterm_ends_a_worker_by_fork_unless_that_handles_it(
    own_handler: str, wait: str, exitcode: str
) -> None:
    """The handler of the server that it has inherited would do nothing."""
    body = f"""
    from asgi_mpclean._shutdown.signals.watch import Watch
    signal.signal(signal.SIGTERM, lambda *_: say("parent"))
    watch = Watch(print)
    watch.chain([signal.SIGTERM])
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    def get_ready_and_sleep():
        {own_handler}
        ready.set()
        {wait}
    process = fork.Process(target=get_ready_and_sleep)
    process.start()
    ready.wait(20)
    process.terminate()
    process.join(10)
    say(process.exitcode)
    signal.raise_signal(signal.SIGTERM)
    """
    status, lines = Script(body).end()
    assert (status, lines) == (0, [exitcode, "parent"])


LIKE_PYPY = "sys.implementation = type(sys.implementation)(**vars(sys.implementation) | PYPY)"


@pytest.mark.parametrize("change", ["", LIKE_PYPY], ids=["", "like PyPy"])
def test_ctrl_c_in_the_middle_of_a_fork_is_raised_in_the_childs_own_code(change: str) -> None:
    """Raised in the hook it would be printed, and lost. PyPy crashes if a thread begins there."""
    body = f"""
    PYPY = {{"name": "pypy"}}
    os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGINT))
    queue = mail()
    {change}
    pid = os.fork()
    if pid == 0:
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                time.sleep(0.01)
            os._exit(1)
        except KeyboardInterrupt:
            os._exit(7)
    _, status = os.waitpid(pid, 0)
    say(os.waitstatus_to_exitcode(status))
    """
    assert Script(body).end() == (0, ["7", *DELIVERED])


def test_a_signal_in_the_middle_of_a_fork_comes_at_once_where_it_cannot_come_later() -> None:
    body = """
    os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGINT))
    queue = mail()
    asgi_mpclean._shutdown.signals.fork.send_after_fork = lambda *_: False
    signal.signal(signal.SIGINT, lambda *_: os._exit(7))
    pid = os.fork()
    if pid == 0:
        time.sleep(10)
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    say(os.waitstatus_to_exitcode(status))
    """
    assert Script(body).end() == (0, ["7", *DELIVERED])


def test_a_forked_child_takes_the_signal_as_if_we_were_not_there() -> None:
    body = """
    from asgi_mpclean._shutdown.signals.watch import Watch
    queue = mail()
    pid = os.fork()
    if pid == 0:
        while True: time.sleep(60)
    os.kill(pid, signal.SIGTERM)
    _, status = os.waitpid(pid, 0)
    say(os.waitstatus_to_exitcode(status))
    """
    assert Script(body).end() == (0, ["-15", *DELIVERED])


def test_a_forked_child_leaves_the_servers_handler_to_itself() -> None:
    body = """
    from asgi_mpclean._shutdown.signals.watch import Watch
    signal.signal(signal.SIGTERM, lambda *_: say("server"))
    watch = Watch(lambda name, *, kills: say("clean", name))
    watch.chain([signal.SIGTERM])
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    say(os.waitpid(pid, 0)[1], watch.seen)
    """
    assert Script(body).end() == (0, ["server", "0 False"])


@pytest.mark.parametrize(
    "handle",
    [
        "",
        (
            'signal.signal(signal.SIGTERM, lambda *_: say("server")); '
            "from asgi_mpclean._shutdown.signals.watch import Watch; "
            "Watch(print).chain([signal.SIGTERM])"
        ),
    ],
    ids=["guarded", "chained"],
)
def test_a_signal_right_after_the_start_of_a_forked_child_is_not_lost(handle: str) -> None:
    body = f"""
    from asgi_mpclean._shutdown.signals.watch import Watch
    queue = mail()
    {handle}
    fork = multiprocessing.get_context("fork")
    codes = set()
    for _ in range(200):
        child = fork.Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(5)
        codes.add(child.exitcode)
    say(codes)
    """
    status, lines = Script(body).end(40)
    lines = [line for line in lines if line != "server"]  # It ran before it was known to be one.
    assert (status, lines) == (0, ["{-15}", *DELIVERED])


def test_no_signal_comes_while_the_default_takes_the_place_of_its_handler() -> None:
    """PyPy forgets one that it has noted and not yet handled."""
    body = """
    from asgi_mpclean._shutdown.signals.watch import Watch
    signal.signal(signal.SIGTERM, lambda *_: say("server"))
    Watch(print).chain([signal.SIGTERM])
    set_handler = signal.signal
    def look_and_set(signum, handler):
        if (signum, handler) == (signal.SIGTERM, signal.SIG_DFL):
            say("blocked:", signum in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return set_handler(signum, handler)
    def look_at_the_mask():
        say("blocked:", signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    signal.signal = look_and_set
    worker = multiprocessing.get_context("fork").Process(target=look_at_the_mask)
    worker.start()
    worker.join(10)
    """
    assert Script(body).end() == (0, ["blocked: True", "blocked: False"])


def test_a_signal_before_a_forked_child_is_known_to_be_a_worker_is_not_lost() -> None:
    body = """
    from asgi_mpclean._shutdown.signals.watch import Watch
    signal.signal(signal.SIGTERM, lambda *_: say("server"))
    Watch(print).chain([signal.SIGTERM])
    os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.join(10)
    say(child.exitcode)
    """
    assert Script(body).end() == (0, ["server", "-15"])


def test_what_a_process_survived_does_not_kill_a_worker_that_it_forks_later() -> None:
    body = """
    from asgi_mpclean._shutdown.signals.watch import Watch
    signal.signal(signal.SIGTERM, lambda *_: say("server"))
    Watch(print).chain([signal.SIGTERM])
    pid = os.fork()
    if pid == 0:
        signal.raise_signal(signal.SIGTERM)
        worker = multiprocessing.get_context("fork").Process(target=say, args=("worker",))
        worker.start()
        worker.join(10)
        say(worker.exitcode)
        os._exit(0)
    os.waitpid(pid, 0)
    """
    assert Script(body).end() == (0, ["server", "worker", "0"])


def test_without_a_look_at_forked_workers_their_handler_ends_them() -> None:
    body = """
    from asgi_mpclean._shutdown.signals.watch import Watch
    signal.signal(signal.SIGTERM, lambda *_: say("server"))
    Watch(print).chain([signal.SIGTERM])
    hooks = multiprocessing.util._afterfork_registry
    for key in [key for key in hooks if hooks[key] is asgi_mpclean._shutdown.signals.fork._fork]:
        del hooks[key]
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    worker = fork.Process(target=workers.sleep, args=(ready,))
    worker.start()
    ready.wait(20)
    worker.terminate()
    worker.join(10)
    say(worker.exitcode)
    pid = os.fork()
    if pid == 0:
        signal.raise_signal(signal.SIGTERM)
        os._exit(0)
    say(os.waitpid(pid, 0)[1])
    """
    assert Script(body).end() == (0, ["-15", "server", "0"])
