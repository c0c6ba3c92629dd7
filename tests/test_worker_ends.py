"""SIGTERM on a worker of ours at the moments at which Python does not take an exception."""

from __future__ import annotations

import pytest
from script import Script

METHODS = ("fork", "spawn", "forkserver")
MADE = {"Process": "asgi_mpclean.Process(ctx=ctx, ", "worker_init": "ctx.Process("}


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize(
    ("target", "start_methods", "printed", "exitcodes"),
    [
        ("wait_for_a_thread_at_the_end", METHODS, ["printed"], {-15}),
        # Elsewhere it does not run before 3.13.
        ("be_slow_in_atexit", ["spawn"], ["printed", "atexit"], {0}),
        ("be_slow_in_a_finalizer", METHODS, ["printed", "finalized", "finalized too"], {0}),
        # The signal comes again while Python waits for the thread.
        ("be_slow_before_a_thread", METHODS, ["printed", "finalized"], {-15}),
        ("be_deaf_before_a_thread", METHODS, ["printed", "finalized"], {-15}),
        # Of `worker_init` Python hears what `sys.exit` has told it.
        ("be_slow_in_destructors", METHODS, ["finally", "finalized"], {-15, 143}),
    ],
)
def test_a_worker_ends_without_a_traceback(
    target: str, start_methods: list[str], printed: list[str], exitcodes: set[int], made: str
) -> None:
    for method in start_methods:
        body = f"""
        import ending_workers
        ctx = multiprocessing.get_context({method!r})
        ready = ctx.Event()
        arguments = (ready, {made == "worker_init"})
        worker = {MADE[made]} target=ending_workers.{target}, args=arguments)
        worker.start()
        ready.wait(20)
        worker.terminate()
        worker.join(10)
        say(worker.exitcode)
        """
        status, lines = Script(body).end()
        assert (status, lines[:-1], method) == (0, printed, method)
        assert int(lines[-1]) in exitcodes


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_is_ending_still_sends_what_it_has_put(method: str, made: str) -> None:
    body = f"""
    import ending_workers
    ctx = multiprocessing.get_context({method!r})
    ready, results = ctx.Event(), ctx.Queue()
    arguments = (results, ready, {made == "worker_init"})
    worker = {MADE[made]} target=ending_workers.be_slow_in_the_feeder, args=arguments)
    worker.start()
    ready.wait(20)
    worker.terminate()
    time.sleep(0.2)
    say(sum(results.get(timeout=10)[0] for _ in range(300)))
    worker.join(10)
    say(worker.exitcode)
    """
    assert Script(body).end() == (0, ["44850", "0"])


def test_a_forked_worker_does_not_run_what_its_parent_does_at_exit() -> None:
    body = """
    ctx = multiprocessing.get_context("fork")
    ready = ctx.Event()
    atexit.register(say, "bye")
    worker = asgi_mpclean.Process(target=workers.sleep, args=(ready,), ctx=ctx)
    worker.start()
    ready.wait(20)
    worker.terminate()
    worker.join(10)
    say(worker.exitcode)
    """
    assert Script(body).end() == (0, ["-15", "bye"])
