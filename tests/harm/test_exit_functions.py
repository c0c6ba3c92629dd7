"""Exit functions of the app find at the exit what they find without the library."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import kit
import pytest

if TYPE_CHECKING:
    from asgi_mpclean._check.outcome import Outcome

long = pytest.mark.skipif(not kit.LONG, reason="--long")

# What is made and what its exit function does with it.
SAVE = {
    "Queue": ("spawn.Queue()", "[thing.get(timeout=5) for _ in range(5)]"),
    "own backlog": ("spawn.Queue()", "(thing.put(5), [thing.get(timeout=5) for _ in range(6)])[1]"),
    "SimpleQueue": ("spawn.SimpleQueue()", "[thing.get() for _ in range(5)]"),
    "Pool": ("fork.Pool(1)", "thing.map(abs, range(5))"),
    "ThreadPool": ("multiprocessing.pool.ThreadPool(1)", "thing.map(abs, range(5))"),
    "memory": ("SharedMemory(create=True, size=5)", "(bytes(thing.buf[:5]), thing.unlink())"),
    "Lock": ("spawn.Lock()", "thing.acquire(timeout=5)"),
    "beside an executor": ("beside(spawn.Queue())", "[thing.get(timeout=5) for _ in range(5)]"),
    "worker": ("worker()", "(thing.go.set(), thing.join(5), thing.exitcode)"),
}
PROGRAM = """
import atexit, multiprocessing.pool, sys, threading
from multiprocessing.shared_memory import SharedMemory
spawn, fork = (multiprocessing.get_context(name) for name in ("spawn", "fork"))
def save():
    try:
        print("saved", {save})
    except BaseException as error:
        print("the app's exit function:", repr(error))
def worker():
    go = fork.Event()
    process = fork.Process(target=go.wait)
    process.go = go
    process.start()
    return process
def beside(thing):
    from concurrent.futures import ProcessPoolExecutor
    executor = asgi_mpclean.register(ProcessPoolExecutor(1, mp_context=fork))
    executor.submit(int).result()
    thing.executor = executor  # One that is dropped ends while Python looks at it (3.10 to 3.12.1).
    return thing
def other():
    print("another exit function")
{before}
import asgi_mpclean
thing = {make}
{order}
if hasattr(thing, "put"):
    for n in range(5):
        thing.put(n)
{end}
"""
ORDERS = {
    "before": "atexit.register(save); asgi_mpclean.register(thing); atexit.register(other)",
    "after": "asgi_mpclean.register(thing); atexit.register(save)",
    "not registered": "atexit.register(save); asgi_mpclean.register(spawn.Lock())",
    "before the import": "asgi_mpclean.register(thing)",
    "again": (
        "atexit.register(save); [asgi_mpclean.register(thing) for _ in range(3)]; "
        "asgi_mpclean.clean if False else None"
    ),
}
ENDS = {"falls off": "", "exits": "sys.exit(3)", "raises": "raise SystemExit('a message')"}


def run(what: str, order: str, end: str) -> tuple[Outcome, Outcome]:
    make, save = SAVE[what]
    before = "atexit.register(save)" if order == "before the import" else ""
    program = PROGRAM.format(
        make=make, save=save, before=before, order=ORDERS[order], end=ENDS[end]
    )
    return kit.both(textwrap.dedent(program))


@pytest.mark.parametrize(
    ("what", "order", "end"),
    [
        ("Queue", "before", "falls off"),
        pytest.param("Queue", "after", "exits", marks=long),
        ("Queue", "before the import", "falls off"),
        ("Pool", "before", "falls off"),
        ("beside an executor", "before", "falls off"),
        ("own backlog", "not registered", "falls off"),
        *[
            pytest.param(what, order, end, marks=long)
            for what in SAVE
            for order in ORDERS
            for end in ("falls off", "raises")
        ],
    ],
)
def test_an_exit_function_of_the_app_finds_what_it_finds_alone(
    what: str, order: str, end: str
) -> None:
    without, within = run(what, order, end)
    assert any(line.startswith("saved") for line in kit.lines(without)), without.output
    assert kit.lines(within) == kit.lines(without)
    assert within.status == without.status
    assert not within.leaked


def test_what_is_left_is_cleaned_after_the_exit_functions_of_the_app() -> None:
    outcome = kit.run(
        """
        import atexit, multiprocessing, sqlite3, time
        import asgi_mpclean
        base = sqlite3.connect(":memory:", check_same_thread=False)
        base.execute("create table items (number)")
        queue = multiprocessing.get_context("spawn").Queue()
        def write(item):
            base.execute("insert into items values (?)", [item])
        def tell(report):
            print("delivered", report.delivered)
        @atexit.register
        def save():
            queue.put("the last one")
            time.sleep(0.1)
        asgi_mpclean.register(queue, on_item=write)
        queue.put(1)
        atexit.register(print, "the first exit function")
        import multiprocessing.util as util
        def show():
            print(list(base.execute("select * from items")))
        util.Finalize(None, show, exitpriority=1)
        """
    )
    assert outcome.output.splitlines() == [
        "the first exit function",
        "[(1,), ('the last one',)]",
    ]
    assert outcome.status == 0
    assert not outcome.leaked


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_what_the_main_module_registers_is_cleaned_in_each_process_that_imports_it(
    method: str,
) -> None:
    outcome = kit.run(
        f"""
        import multiprocessing
        import asgi_mpclean
        context = multiprocessing.get_context({method!r})
        queue = context.Queue()
        asgi_mpclean.register(queue, on_item=print)
        def work():
            queue.put("delivered")
        if __name__ == "__main__":
            worker = context.Process(target=work)
            worker.start()
            worker.join()
            print("joined", worker.exitcode)
        """
    )
    assert sorted(outcome.output.splitlines()) == ["delivered", "joined 0"]
    assert not outcome.leaked


ROOM = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
import asgi_mpclean
context = multiprocessing.get_context("fork")
full = context.Queue({bound})
got = []
asgi_mpclean.register(full, on_item=got.append)
def fill():
    for number in range({items}):
        full.put(bytes({size}))
def tell(report):
    done = [entry.cancelled for entry in report.resources if "Executor" in entry.kind]
    print(done, [entry.outcome for entry in report.resources], flush=True)
from asgi_mpclean._shutdown import triggers
from asgi_mpclean._shutdown.state import Policy, set_policy
set_policy(Policy(on_report=tell))
executor = asgi_mpclean.register(ProcessPoolExecutor(1, mp_context=context))
job = executor.submit(fill)
while not full.{reached}: time.sleep(0.01)
time.sleep(0.2)
import multiprocessing.util as util
util.Finalize(None, lambda: print(len(got)), exitpriority=1)
"""


@pytest.mark.parametrize(
    ("bound", "items", "size", "reached"),
    [(3, 10, 1, "full()"), (0, 100, 4096, "_reader.poll()")],
    ids=["bounded", "a full pipe"],
)
def test_a_job_of_an_executor_that_waits_for_room_gets_it_at_the_exit(
    bound: int, items: int, size: int, reached: str
) -> None:
    program = ROOM.format(bound=bound, items=items, size=size, reached=reached)
    outcome = kit.run(program)
    assert outcome.output.splitlines() == [
        "[0] ['closed', 'made room']",
        "[] ['closed']",
        str(items),
    ]
    assert outcome.seconds < 5
    assert not outcome.leaked


def test_without_the_feature_what_is_left_is_cleaned_by_atexit() -> None:
    outcome = kit.run(
        """
        import atexit, multiprocessing
        import asgi_mpclean
        from asgi_mpclean._cpython.features import AVAILABLE, Feature
        AVAILABLE.discard(Feature.FINALIZERS)
        queue = multiprocessing.get_context("spawn").Queue()
        atexit.register(print, "of the app, before")
        for _ in range(3):
            asgi_mpclean.register(queue, on_item=print)
        atexit.register(print, "of the app, after")
        queue.put("delivered")
        """
    )
    assert outcome.output.splitlines() == ["of the app, after", "delivered", "of the app, before"]
    assert not outcome.leaked
