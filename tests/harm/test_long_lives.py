"""A long life costs nothing that grows, and nothing is forgotten for that."""

from __future__ import annotations

import multiprocessing
from typing import Any

import kit
import pytest

from asgi_mpclean import Registry

SPAWN: Any = multiprocessing.get_context("spawn")
long = pytest.mark.skipif(not kit.LONG, reason="--long")
MANY = 20 if kit.LONG else 1
WITHOUT_DESCRIPTORS = 70
"""So many entries may be kept of what costs no descriptor, until somebody looks."""

CHEAP = (
    *("queue", "joinable", "simple", "lock", "event", "condition", "barrier", "value", "array"),
    *("memory", "list", "connection", "listener", "custom", "slots", "bare"),
)
DEAR = ("process", "pool", "terminated_pool", "thread_pool", "executor", "manager")
WAYS = ("by itself", "by dropping", "in a cycle")
EVERY = [(kind, way) for kind in (*CHEAP, *DEAR) for way in WAYS]
DEFAULT = {
    ("queue", "by dropping"),
    ("queue", "in a cycle"),
    ("simple", "by dropping"),
    ("value", "by itself"),
    ("memory", "by itself"),
    ("connection", "by dropping"),
    ("connection", "in a cycle"),
    ("custom", "by itself"),
    ("bare", "by itself"),
    ("process", "by dropping"),
    ("pool", "in a cycle"),
    ("thread_pool", "by itself"),
    ("executor", "in a cycle"),
    ("manager", "by itself"),
}
# What only its `close`, or its `unlink`, ends: let go of, it still has to be closed at the end.
NOT_BY_DROPPING = {"memory", "list", "custom", "slots", "bare"}


def number_of(kind: str) -> int:
    few = kind in {"executor", "pool", "terminated_pool"}
    return MANY * (40 if few else 80 if kind in DEAR else 150)


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        pytest.param(kind, way, marks=() if (kind, way) in DEFAULT else long)
        for kind, way in EVERY
        if way != "by dropping" or kind not in NOT_BY_DROPPING
    ],
)
def test_what_the_app_has_ended_costs_nothing_any_more(kind: str, way: str) -> None:
    outcome = kit.run("lives.py", kind, way, str(number_of(kind)), timeout=50)
    assert outcome.status == 0, outcome.output
    left = {
        name: int(value)
        for name, _, value in (line.partition(": ") for line in outcome.output.splitlines()[:4])
    }
    assert set(left) == {"descriptors", "threads", "entries", "names"}
    assert left["descriptors"] <= 64, left
    assert left["threads"] <= 8, left
    assert left["entries"] <= WITHOUT_DESCRIPTORS, left
    assert not outcome.leaked, outcome.output


@pytest.mark.parametrize(
    ("what", "method", "how", "says"),
    [
        ("Queue", "spawn", "on_item", "received 10 dropped 0"),
        ("Queue", "spawn", "own items", "received 10 dropped 0"),
        ("SimpleQueue", "fork", "on_item", "received 10 dropped 0"),
        ("connection", "spawn", "on_item", "received 10 dropped 0"),
        pytest.param("Queue", "spawn", "no on_item", "received 0 dropped 10", marks=long),
        pytest.param("JoinableQueue", "forkserver", "on_item", "received 10 dropped 0", marks=long),
        pytest.param("SimpleQueue", "spawn", "own items", "received 10 dropped 0", marks=long),
        pytest.param("Queue", "fork", "on_item", "received 10 dropped 0", marks=long),
        pytest.param("connection", "fork", "on_item", "received 10 dropped 0", marks=long),
    ],
)
def test_what_has_work_to_come_is_not_forgotten(
    what: str, method: str, how: str, says: str
) -> None:
    outcome = kit.run("kept.py", what, method, how)
    assert outcome.output.splitlines() == [says]


@pytest.mark.parametrize(
    "what",
    [
        "connection",
        "memory",
        pytest.param("listener", marks=long),
        pytest.param("pool", marks=long),
    ],
)
def test_what_the_app_lets_go_of_ends_as_it_does_alone(what: str) -> None:
    without, within = kit.both("let_go.py", what)
    assert "done" in kit.lines(without)
    kit.assert_same(without, within)


def test_registering_again_costs_the_same_after_any_number_of_calls() -> None:
    outcome = kit.run(
        """
        import multiprocessing, time
        from asgi_mpclean import register
        lock = multiprocessing.get_context("spawn").Lock()
        def cost(calls):
            began = time.thread_time()
            for _ in range(calls):
                register(lock)
            return (time.thread_time() - began) / calls
        cost(100)
        first = min(cost(200) for _ in range(5))
        cost(30_000)
        last = min(cost(200) for _ in range(5))
        print(last < 2 * first or (first, last))
        """
    )
    assert outcome.output.splitlines() == ["True"]


THREADS = """
    import gc, multiprocessing, sys, threading
    from asgi_mpclean import Registry
    context, registry, errors = multiprocessing.get_context("spawn"), Registry(), []
    sys.setswitchinterval(1e-5)
    start = threading.Barrier(9)
    def register(number):
        start.wait()
        for n in range(number):
            try:
                {what}
            except BaseException as error:
                errors.append(repr(error))
    def look():
        start.wait()
        while any(thread.is_alive() for thread in threads):
            list(registry), len(registry), object() in registry
    threads = [threading.Thread(target=register, args=(120,)) for _ in range(8)]
    looker = threading.Thread(target=look)
    for thread in (*threads, looker): thread.start()
    for thread in (*threads, looker): thread.join()
    print("errors", errors[:3])
    if not hasattr(sys, "getrefcount"):
        gc.collect()  # As in PyPy, where nothing else tells what nobody refers to.
    # What was in the list of `look` at that moment is let go of later.
    held = [registry.register(context.Lock()) for _ in range(200)]
    print("kept", len(registry) <= 300 or len(registry))
    registry.clean()
    """


@pytest.mark.parametrize(
    "what",
    [
        "registry.register(context.Lock())",
        "registry.register(context.SimpleQueue())",
        pytest.param("registry.register(context.Queue(), on_item=print)", marks=long),
        pytest.param("registry.register(context.Pipe()[0])", marks=long),
        pytest.param("with Registry() as own: own.register(context.Lock())", marks=long),
    ],
)
def test_any_number_of_threads_may_register(what: str) -> None:
    outcome = kit.run(THREADS.format(what=what), timeout=40)
    assert outcome.output.splitlines() == ["errors []", "kept True"]


def test_what_is_registered_while_it_is_cleaned_is_either_refused_or_cleaned_later() -> None:
    outcome = kit.run(
        """
        import collections, multiprocessing, threading
        from asgi_mpclean import Registry
        context, registry = multiprocessing.get_context("spawn"), Registry()
        counts = collections.Counter()
        got = []
        def register():
            for n in range(200):
                queue = context.SimpleQueue()
                queue.put(n)
                try:
                    registry.register(queue, on_item=got.append)
                    counts["registered"] += 1
                except RuntimeError:
                    counts["refused"] += 1
        thread = threading.Thread(target=register)
        thread.start()
        while thread.is_alive():
            registry.clean()
        registry.clean()
        print(counts["registered"] - len(got), counts["registered"] + counts["refused"])
        """
    )
    assert outcome.output.splitlines() == ["0 200"]


def test_an_entry_that_has_gone_is_none_of_a_new_thing_of_its_id() -> None:
    names = []
    with Registry() as registry:
        for number in range(200):
            # CPython gives the place of what has gone to the next of its size.
            registry.register(SPAWN.SimpleQueue(), name=f"old {number}")
            assert SPAWN.SimpleQueue() not in registry
        kept = [registry.register(SPAWN.SimpleQueue()) for _ in range(20)]
        names = [e.name for e in registry.clean().resources if not e.name.startswith("old")]
    assert len(names) == len(kept)
