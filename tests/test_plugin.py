"""The pytest plugin: tests that leave something behind, in runs of pytest of their own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pythons import LONG, some

from asgi_mpclean import Leak
from asgi_mpclean._pytest.allowed import is_allowed

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD = """
import asyncio, multiprocessing, pytest, time
from multiprocessing.shared_memory import SharedMemory
SPAWN = multiprocessing.get_context("spawn")
FORK = multiprocessing.get_context("fork")
KEPT = []

def keep(*things):
    KEPT.extend(things)
    return things[0]
"""
ALONE = ("-p", "no:cacheprovider", "-p", "asgi_mpclean._pytest.plugin")
"""Plugins that are loaded where none is by itself, which takes most of the time of a run."""


class Runner:
    """Runs tests in another process, and tells what came of it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.text = ""
        pytester._monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(
        self, tests: str, *words: str, ini: str = "", plugins: Iterable[str] = ()
    ) -> dict[str, int]:
        """Return how many tests passed, failed and so on; `text` is what pytest wrote."""
        self.pytester.makeini(f"[pytest]\n{ini}")
        self.pytester.makepyfile(test_it=HEAD + tests)
        more = [word for plugin in plugins for word in ("-p", plugin)]
        result = self.pytester.runpytest_subprocess(*ALONE, *more, *words, timeout=60)
        self.text = re.sub(r"process \d+", "process PID", result.stdout.str())
        return dict(result.parseoutcomes())


@pytest.fixture
def runner(pytester: pytest.Pytester) -> Runner:
    return Runner(pytester)


# What a test leaves, in one line, and what is said of it.
LEFT = {
    "SPAWN.Lock()": "Lock made at test_it.py:LINE, 1 semaphore",
    "SPAWN.Queue()": "Queue made at test_it.py:LINE, 3 semaphores",
    "SharedMemory(create=True, size=9)": "SharedMemory made at test_it.py:LINE",
    "FORK.SimpleQueue().put(1) or FORK.SimpleQueue()": None,
    "[q := FORK.SimpleQueue(), q.put(1)]": "SimpleQueue made at test_it.py:LINE, 1 unread item",
    "[q := FORK.Queue(), q.put(1), q.get()]": "Queue made at test_it.py:LINE, a feeder thread",
    "[p := FORK.Process(target=time.sleep, args=(9,), daemon=True), p.start()]": (
        "Process made at test_it.py:LINE, process PID"
    ),
    "FORK.Lock()": None,
    "FORK.Queue()": None,
}


def test_each_kind_of_leak_fails_its_test_with_the_line(runner: Runner) -> None:
    tests = "".join(
        f"\ndef test_{number}():\n    keep({text})\n" for number, text in enumerate(LEFT)
    )
    outcomes = runner.run(tests, "--mp-leaks=fail", "-W", "ignore::DeprecationWarning")
    expected = {text: said for text, said in LEFT.items() if said}
    assert outcomes == {"passed": len(LEFT), "errors": len(expected)}, runner.text
    first = HEAD.count("\n") + 2
    for number, (text, said) in enumerate(LEFT.items()):
        if said:
            assert f"    {said.replace('LINE', str(first + 3 * number))}\n" in runner.text
            assert f"        keep({text})\n" in runner.text


CLEAN = """
def test_queue():
    queue = SPAWN.Queue()
    queue.put(1)
    assert queue.get(timeout=9) == 1

def test_closed_at_once():
    queue = SPAWN.Queue()
    queue.put(1)
    queue.get(timeout=9)
    queue.close()

def test_circle():
    circle = [SPAWN.Lock()]
    circle.append(circle)

def test_memory():
    block = SharedMemory(create=True, size=9)
    block.close()
    block.unlink()

def test_pool():
    with FORK.Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]

def test_child():
    child = FORK.Process(target=print)
    child.start()
    child.join()

MADE_AT_IMPORT = SPAWN.Queue()
def test_what_the_module_made():
    MADE_AT_IMPORT.put(1)
    MADE_AT_IMPORT.get(timeout=9)
"""


def test_what_leaves_nothing_passes(runner: Runner) -> None:
    assert runner.run(CLEAN, "--mp-leaks=fail") == {"passed": 7}, runner.text


ONE = "\ndef test_one():\n    keep(SPAWN.Lock())\n"
MARKED = "\n@pytest.mark.mp_leaks({})\ndef test_one():\n    keep(SPAWN.Lock())\n"
FIXTURE = """
def test_one(mp_leaks):
    keep(SPAWN.Lock())
    assert [leak.kind for leak in mp_leaks()] == ["Lock"]
"""

# Tests, options, configuration; and what comes of it.
ASKED = {
    "not at all": (ONE, (), "", {"passed": 1}),
    "option fail": (ONE, ("--mp-leaks=fail",), "", {"passed": 1, "errors": 1}),
    "option warn": (ONE, ("--mp-leaks=warn",), "", {"passed": 1, "warnings": 1}),
    "ini fail": (ONE, (), "mp_leaks = fail", {"passed": 1, "errors": 1}),
    "ini warn": (ONE, (), "mp_leaks = warn", {"passed": 1, "warnings": 1}),
    "option over ini": (ONE, ("--mp-leaks=off",), "mp_leaks = fail", {"passed": 1}),
    "mark": (MARKED.format(""), (), "", {"passed": 1, "errors": 1}),
    "mark warn": (MARKED.format("'warn'"), (), "", {"passed": 1, "warnings": 1}),
    "mark off": (MARKED.format("'off'"), ("--mp-leaks=fail",), "", {"passed": 1}),
    "mark allow": (MARKED.format("allow=['Lock']"), (), "", {"passed": 1}),
    "mark allow another": (
        MARKED.format("allow=['Queue', 'Lock other.py']"),
        (),
        "",
        {"passed": 1, "errors": 1},
    ),
    "fixture": (FIXTURE, (), "", {"passed": 1, "errors": 1}),
    "ini allow": (
        ONE,
        ("--mp-leaks=fail",),
        "mp_leaks_allow =\n  Queue\n  Lock test_it.py",
        {"passed": 1},
    ),
}


@pytest.mark.parametrize("how", some(ASKED, "not at all", "ini warn", "mark allow"))
def test_it_is_off_until_it_is_asked_for(runner: Runner, how: str) -> None:
    tests, words, ini, expected = ASKED[how]
    assert runner.run(tests, "--strict-markers", *words, ini=ini) == expected, runner.text


def test_what_is_wrong_in_the_configuration_is_said(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmp_leaks = maybe\n")
    result = pytester.runpytest_subprocess(timeout=30)  # By its entry point.
    assert "mp_leaks = 'maybe' is none of fail, warn, off" in result.stderr.str()


SCOPES = """
@pytest.fixture
def each():
    yield keep(SPAWN.Lock())

@pytest.fixture(scope="module")
def module():
    yield keep(SPAWN.Queue())

@pytest.fixture(scope="module")
def tidy():
    queue = SPAWN.Queue()
    yield queue
    del queue

def test_first(module, tidy):
    pass

def test_second(module, tidy, each):
    pass

def test_third(module, tidy):
    pass
"""


def test_a_leak_of_a_fixture_is_charged_to_its_scope(runner: Runner) -> None:
    assert runner.run(SCOPES, "--mp-leaks=fail") == {"passed": 3, "errors": 2}, runner.text
    second, third = runner.text.split("ERROR at teardown of test_third")[:2]
    assert "ERROR at teardown of test_first" not in runner.text
    assert "left by function fixture 'each' of test_it.py:\n    Lock made at" in second
    assert "left by module fixture 'module' of test_it.py:\n    Queue made at" in third
    assert "tidy" not in third.split("short test summary")[0]


@pytest.mark.skipif(not LONG, reason="--long")
def test_a_test_that_fails_is_not_blamed_for_what_its_traceback_keeps(runner: Runner) -> None:
    failing = "\ndef test_one():\n    lock = SPAWN.Lock()\n    assert not lock\n"
    tests = f"{failing}\ndef test_two():\n    pass\n"
    assert runner.run(tests, "--mp-leaks=fail") == {"failed": 1, "passed": 1}, runner.text


ASYNC = """
{mark}
async def test_leaks():
    keep(SPAWN.Queue())
    await asyncio.sleep(0)

@pytest.fixture
async def queue():
    yield keep(SPAWN.Queue())

{mark}
async def test_uses(queue):
    await asyncio.sleep(0)

{mark}
async def test_tidy():
    lock = SPAWN.Lock()
    await asyncio.sleep(0)
"""
BACKENDS = "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"


@pytest.mark.parametrize(
    ("mark", "plugin", "ini"),
    [
        ("@pytest.mark.anyio", "anyio.pytest_plugin", ""),
        (
            "@pytest.mark.asyncio",
            "pytest_asyncio.plugin",
            "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function",
        ),
    ],
    ids=["anyio", "pytest-asyncio"],
)
def test_async_tests_and_fixtures(runner: Runner, mark: str, plugin: str, ini: str) -> None:
    tests = ASYNC.format(mark=mark) + BACKENDS
    outcomes = runner.run(tests, "--mp-leaks=fail", ini=ini, plugins=[plugin])
    assert outcomes == {"passed": 3, "errors": 2}, runner.text
    assert "left by this test:\n    Queue made at test_it.py:" in runner.text
    assert "left by function fixture 'queue' of test_it.py:" in runner.text


@pytest.mark.skipif(not LONG, reason="--long")
def test_under_xdist(runner: Runner) -> None:
    outcomes = runner.run(
        SCOPES + ONE, "--mp-leaks=fail", "-n", "2", "--dist=loadfile", plugins=["xdist.plugin"]
    )
    assert outcomes == {"passed": 4, "errors": 2}, runner.text
    assert "left by this test:\n    Lock made at" in runner.text
    assert "left by module fixture 'module' of test_it.py" in runner.text


@pytest.mark.parametrize(
    ("entry", "allowed"),
    [
        ("Queue", True),
        ("Lock", False),
        ("*", True),
        ("Queue nicegui/native/native.py", True),
        ("Queue nicegui/native/native.py:25", True),
        ("Queue nicegui/native/native.py:26", False),
        ("* nicegui/*", True),
        ("Lock nicegui/*", False),
        ("", False),
    ],
)
def test_allowed_by_kind_and_site(entry: str, allowed: bool) -> None:
    assert is_allowed(Leak("Queue", "nicegui/native/native.py:25"), [entry]) is allowed
