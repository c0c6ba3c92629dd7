"""A destructor, a clean-up or a signal may come between any two lines of ours; nothing is lost."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from driver import COMPLETE, Driver, over_default, run

import asgi_mpclean
from asgi_mpclean import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SPAWN = multiprocessing.get_context("spawn")
PACKAGE = str(Path(asgi_mpclean.__file__).parent)
# Something comes before each so many-eth line.
STEP = 1 if "MPC_LONG" in os.environ else 13
# A lifespan and a clean-up run through more lines than this; with fewer, they are not looked at.
LINES = 1500


def drop_a_registry() -> None:
    """Do what a destructor does that runs whenever Python collects garbage."""
    Registry().register(SPAWN.Lock())


def clean_another() -> None:
    registry = Registry()
    queue = registry.register(SPAWN.Queue(), on_item=list[int]().append)
    queue.put(0)
    registry.clean(0.5)


class Comes(NamedTuple):
    """What comes between two lines, and the signals that the program hears of by it."""

    what: Callable[[], None]
    heard: list[int]


COMES = {
    "a destructor": Comes(drop_a_registry, []),
    "a clean-up": Comes(clean_another, []),
    "CTRL-C": Comes(lambda: signal.raise_signal(signal.SIGINT), [signal.SIGINT]),
    "SIGTERM": Comes(lambda: signal.raise_signal(signal.SIGTERM), [signal.SIGTERM]),
}


class Between:
    """Has something come before one of the lines of the package that the main thread runs."""

    def __init__(self, number: int, what: Callable[[], None]) -> None:
        self.has_come = False
        self._left = number
        self._what = what

    def __enter__(self) -> None:
        self._traced = sys.gettrace()
        sys.settrace(self._call)

    def __exit__(self, *_error: object) -> None:
        sys.settrace(self._traced)

    def _call(self, frame: FrameType, _event: str, _arg: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, _frame: FrameType, event: str, _arg: object) -> Any:
        self._left -= event == "line"
        if self._left < 0 and not self.has_come:
            self.has_come = True
            self._what()
        return self._line


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Be the program, which handles the signals."""
    numbers: list[int] = []
    found = {
        number: signal.signal(number, lambda number, _frame: numbers.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    yield numbers
    for number, handler in found.items():
        signal.signal(number, handler)


def live(between: Between) -> tuple[list[str], list[int]]:
    """Run a lifespan, and what is left to the exit; returns its log and the items delivered."""
    driver, items = Driver(), list[int]()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        driver.registry.register(SPAWN.Queue(), on_item=items.append).put(1)
        asgi_mpclean.register(SPAWN.Queue(), on_item=items.append).put(2)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    with between:
        log = run(driver, driver.wrap(app), "asyncio")
        asgi_mpclean.clean()
    return sorted(log), sorted(items)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", COMES)
def test_whatever_comes_between_two_lines(name: str, heard: list[int]) -> None:
    what, expected = COMES[name]
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    live(Between(sys.maxsize, what))  # What is imported at the first time is not looked at.
    for number in itertools.count(0, STEP):
        heard.clear()
        between = Between(number, what)
        result = live(between)
        assert result == (sorted(COMPLETE), [1, 2]), number
        found = {key: over_default(signal.getsignal(key)) for key in handlers}
        assert found == handlers, number
        if not between.has_come:
            break
        assert heard == expected, number
    assert number > LINES
