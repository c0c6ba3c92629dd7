"""What every test must leave behind: nothing."""

from __future__ import annotations

import collections
import dataclasses
import gc
import multiprocessing
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from elsewhere import platforms, reason_to_skip

import asgi_mpclean
from asgi_mpclean._cpython.features import AVAILABLE, Feature
from asgi_mpclean._cpython.semaphores import Snapshot, unlink_semaphores
from asgi_mpclean._cpython.starting import allow_starts
from asgi_mpclean._registry.default import default_registry as DEFAULT_REGISTRY  # noqa: N812
from asgi_mpclean._shutdown.state import STATE, Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.register_assert_rewrite("uvicorn_cases")

# Windows has no more than the first two, and one of its own.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
WATCHED = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
DEFAULTS = dict.fromkeys(WATCHED, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}


@dataclasses.dataclass
class ChaosLog:
    """What the chaos suite did, for its summary."""

    rounds: int = 0
    injected: int = 0
    survived: int = 0
    items: int = 0
    delivered: int = 0
    dropped: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)


CHAOS_LOG = pytest.StashKey[ChaosLog]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="what repeats things repeats them more")
    group = parser.getgroup("chaos")
    group.addoption(
        "--chaos-seed", type=int, default=1, metavar="N", help="what chooses the moments and sizes"
    )
    group.addoption(
        "--chaos-rounds", type=int, default=4, metavar="N", help="rounds of several faults at once"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CHAOS_LOG] = ChaosLog()
    # What starts us may ignore some, as nohup does and a script with a background job: what the
    # tests start would ignore them too.
    for signum, handler in DEFAULTS.items():
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, handler)
    if config.getoption("long"):
        os.environ["MPC_LONG"] = "1"  # For tests and what they start.


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="only Windows can show it: .ci/windows")
    for item in items if sys.platform != "win32" else ():
        if item.path.parent.name == "windows":
            item.add_marker(skip)
    if "MPC_LONG" not in os.environ:
        _sample(items)
    here = platforms()
    for item in items:
        if reason := reason_to_skip(item.nodeid, here):
            item.add_marker(pytest.mark.skip(reason=reason))


def _sample(items: list[pytest.Item]) -> None:
    """Skip the cases of long tables that are left to `--long`: all but every nth, and the smoke."""
    places = collections.Counter[str]()
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is None:
            continue
        name = item.nodeid.partition("[")[0]
        if places[name] % mark.args[0] and item.get_closest_marker("smoke") is None:
            item.add_marker(pytest.mark.skip(reason="a case in several is enough: --long"))
        places[name] += 1


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    log = config.stash[CHAOS_LOG]
    if not log.injected:
        return
    terminalreporter.section(f"chaos, seed {config.getoption('chaos_seed')}")
    terminalreporter.line(f"faults injected: {log.injected} in {log.rounds} rounds")
    terminalreporter.line(f"faults survived: {log.survived}")
    terminalreporter.line(f"items in: {log.items}")
    terminalreporter.line(
        f"items accounted for: {log.delivered + log.dropped} "
        f"({log.delivered} delivered, {log.dropped} dropped and reported)"
    )
    for note in log.notes:
        terminalreporter.line(note)


@pytest.fixture
def chaos_log(pytestconfig: pytest.Config) -> ChaosLog:
    """Where the chaos suite notes what it did."""
    return pytestconfig.stash[CHAOS_LOG]


def _semaphores_left(before: set[str]) -> set[str]:
    """Return the semaphores that stay; a dropped queue's feeder lets go of its own in a moment."""
    until = time.monotonic() + 2
    while (left := Snapshot().names - before) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    return left


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves a semaphore, a child, a handler or a registration behind."""
    handlers = {number: signal.getsignal(number) for number in WATCHED}
    names = Snapshot().names
    yield
    # Looked at first, so that the clean-up, which is for the next test, hides nothing of this one.
    registered = [str(thing) for thing in DEFAULT_REGISTRY]
    left = _semaphores_left(names)
    children = multiprocessing.active_children()
    handlers_left = {number: signal.getsignal(number) for number in WATCHED}
    for child in children:  # This test is to blame, and no later one.
        child.kill()
        child.join()
    asgi_mpclean.clean()
    allow_starts()
    STATE.policy = Policy()
    assert not registered, f"registered: {registered}"
    assert not left, f"semaphores left: {left}"
    assert not children
    assert handlers_left == handlers


@pytest.fixture(params=["spawn", "forkserver", "fork"])
def method(request: pytest.FixtureRequest) -> str:
    """Each start method."""
    return str(request.param)


@pytest.fixture
def without(request: pytest.FixtureRequest) -> Iterator[Feature]:
    """Do without a feature."""
    feature: Feature = request.param
    before = Snapshot().names
    AVAILABLE.discard(feature)
    yield feature
    AVAILABLE.add(feature)
    if feature is Feature.SEMAPHORES:  # They were left to the exit of the interpreter.
        left = Snapshot()
        unlink_semaphores(left.claim(left.names - before))
