"""A clean-up takes no more memory than it says, and reads nothing that others are reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kit
import pytest

if TYPE_CHECKING:
    from pathlib import Path

long = pytest.mark.skipif(not kit.LONG, reason="--long")
MEMORY = 64
"""MiB: what waits for `on_item`, and what Python needs for handling it."""

# In 3.12 and newer no thread can be started at the exit, so that nobody delivers in the background.
AT_EXIT = """
    import multiprocessing
    import time

    import asgi_mpclean
    from asgi_mpclean._shutdown.state import Policy, set_policy

    ctx = multiprocessing.get_context("spawn")
    got = []

    def write(queue):
        for _ in range(24):
            queue.put(bytes(1 << 20))

    def take(item):
        time.sleep(0.01)
        got.append(item[:1])

    def say(report):
        print(len(got), report.dropped, report.resources[1].outcome)

    if __name__ == "__main__":
        queue = asgi_mpclean.register(ctx.Queue(), on_item=take)
        worker = asgi_mpclean.Process(target=write, args=(queue,), ctx=ctx)
        worker.start()
        queue._reader.poll(20)
        set_policy(Policy(on_report=say))
"""


@pytest.mark.parametrize(
    ("what", "how", "size", "writers"),
    [
        ("Queue", "slow", "large", "1"),
        ("SimpleQueue", "none", "large", "2"),
        ("Pipe", "stuck", "large", "1"),
        pytest.param("Queue", "stuck", "small", "2", marks=long),
        pytest.param("Queue", "none", "large", "2", marks=long),
        pytest.param("JoinableQueue", "slow", "large", "1", marks=long),
        pytest.param("SimpleQueue", "slow", "small", "2", marks=long),
        pytest.param("SimpleQueue", "fails", "large", "1", marks=long),
        pytest.param("Pipe", "none", "small", "1", marks=long),
        pytest.param("socket", "slow", "large", "1", marks=long),
        pytest.param("socket", "none", "small", "1", marks=long),
    ],
)
def test_a_writer_that_never_stops_is_ended_rather_than_read(
    what: str, how: str, size: str, writers: str
) -> None:
    outcome = kit.run("flood.py", what, how, size, writers)
    memory, *rest = outcome.output.splitlines()
    assert rest == ["in time: True", f"ended {writers} of {writers}", "counted: True"]
    assert int(memory.split()[1]) <= MEMORY, memory
    assert not outcome.orphans
    assert not outcome.leaked


@pytest.mark.parametrize(
    ("what", "who", "how", "method"),
    [
        ("Queue", "a worker", "dropped", "spawn"),
        ("Queue", "a slow worker", "registered", "fork"),
        ("SimpleQueue", "a slow worker", "registered", "spawn"),
        ("Pipe", "a worker", "registered", "fork"),
        ("Queue", "a slow grandchild", "registered", "spawn"),
        pytest.param("Queue", "a worker", "dropped", "fork", marks=long),
        pytest.param("Queue", "a worker", "dropped", "forkserver", marks=long),
        pytest.param("JoinableQueue", "a worker", "dropped", "spawn", marks=long),
        pytest.param("SimpleQueue", "a slow grandchild", "registered", "fork", marks=long),
        pytest.param("Queue", "a slow fork", "registered", "fork", marks=long),
        pytest.param("Queue", "a fork", "dropped", "fork", marks=long),
        pytest.param("socket", "a worker", "registered", "spawn", marks=long),
        pytest.param("socket", "a fork", "registered", "fork", marks=long),
        pytest.param("Pipe", "a grandchild", "registered", "spawn", marks=long),
    ],
)
@pytest.mark.sampled(3)
def test_nothing_is_read_without_the_lock_that_its_readers_take(
    what: str, who: str, how: str, method: str, tmp_path: Path
) -> None:
    outcome = kit.run("sharing.py", what, who, how, method, env={"FOLDER": str(tmp_path)})
    assert outcome.output.splitlines() == [
        "in the middle: True",
        "intact: True",
        "in order: True",
        "none taken twice: True",
        "it went on: True",
    ]


def test_a_worker_that_writes_more_than_fits_is_read_at_the_exit_as_well() -> None:
    outcome = kit.run(AT_EXIT)
    assert outcome.output.splitlines() == ["24 0 joined"]


# What is left at the exit has two parts: executors, for which Python would wait, and the rest.
TWO_PARTS = """
    import concurrent.futures
    import multiprocessing
    import signal
    import time

    import asgi_mpclean
    from asgi_mpclean._shutdown.state import Policy, set_policy

    TIMEOUT = 2.0
    ctx = multiprocessing.get_context("spawn")

    def prepare(begun):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        globals()["begun"] = begun

    def hang():
        begun.release()
        time.sleep(60)

    def work(begun):
        prepare(begun)
        hang()

    def say(report):
        parts.append(report.trigger)
        print(parts, time.monotonic() - main_ended < 1.25 * TIMEOUT)

    if __name__ == "__main__":
        parts = []
        begun = ctx.Semaphore(0)
        set_policy(Policy(TIMEOUT, on_report=say))
        worker = ctx.Process(target=work, args=(begun,), daemon=True)
        asgi_mpclean.register(worker).start()
        jobs = concurrent.futures.ProcessPoolExecutor(1, ctx, prepare, (begun,))
        asgi_mpclean.register(jobs).submit(hang)
        for _ in range(2):
            begun.acquire(timeout=20)
        main_ended = time.monotonic()
"""


def test_the_parts_of_an_exit_have_one_deadline() -> None:
    outcome = kit.run(TWO_PARTS)
    said = [line for line in outcome.output.splitlines() if not line.startswith("asgi_mpclean")]
    assert said == ["['exit'] True", "['exit', 'exit'] True"], outcome.output
