"""What signals, and a server that is told to stop early, do to a lifespan."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from driver import COMPLETE, Driver, run, well_behaved
from starlette.applications import Starlette

from asgi_mpclean import mpclean_lifespan
from asgi_mpclean._registry.default import default_registry as DEFAULT  # noqa: N812
from asgi_mpclean._shutdown import state
from asgi_mpclean._shutdown.signals import handler, watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import FrameType

    from asgi_mpclean import CleanupReport

SPAWN = multiprocessing.get_context("spawn")


@pytest.mark.parametrize("registers", ["", "in the lifespan's registry", "in the default one"])
@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM,), ()])
def test_handlers_are_chained_and_restored(signals: tuple[int, ...], registers: str) -> None:
    """What is registered during the lifespan has handlers installed as well, over those of it."""
    came: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    found = {number: signal.getsignal(number) for number in previous}
    guarded = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGQUIT)}
    driver = Driver(signals=signals)
    registries = {"": None, "in the lifespan's registry": driver.registry}
    registry = registries.get(registers, DEFAULT)

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if registry is not None:
            registry.register(SPAWN.Lock())
        for number, handler in found.items():
            assert (signal.getsignal(number) is handler) == (number not in signals)
            signal.raise_signal(number)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    try:
        log = run(driver, driver.wrap(app), "asyncio")
        DEFAULT.clean()
        left = found | guarded
        assert {number: signal.getsignal(number) for number in left} == left
    finally:
        for number, handler in (previous | guarded).items():
            signal.signal(number, handler)
    assert came == [signal.SIGINT, signal.SIGTERM]
    # Told to stop before it has started, it is clean before the server hears that it has.
    cleaned = ["cleaned", "startup.complete", "shutdown.complete"]
    assert log == (cleaned if signals else COMPLETE)


def test_a_handler_stays_whatever_is_let_go_of_while_it_is_installed() -> None:
    """A destructor may end another watch at any step, and so may a signal."""
    files = {module.__file__ for module in (handler, watch)}

    def let_go_at_each_line(frame: FrameType, event: str, _arg: object) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            watch.put_back()
        return let_go_at_each_line

    found, traced = signal.getsignal(signal.SIGTERM), sys.gettrace()
    watching = watch.Watch(lambda _name, *, kills: kills)
    sys.settrace(let_go_at_each_line)
    try:
        watching.chain([signal.SIGTERM])
    finally:
        sys.settrace(traced)
    try:
        installed = signal.getsignal(signal.SIGTERM)
        assert handler.chained(installed) is not None
    finally:
        watching.stop()
    assert signal.getsignal(signal.SIGTERM) is found


def test_told_to_stop_early_a_shutdown_that_fails_is_passed_on() -> None:
    previous = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    driver = Driver(signals=(signal.SIGUSR1,))

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        signal.raise_signal(signal.SIGUSR1)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "no database"})

    try:
        log = run(driver, driver.wrap(app), "asyncio")
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert log == ["cleaned", "startup.complete", "shutdown.failed"]


@pytest.mark.parametrize("way", ["wrapper", "lifespan"])
def test_disabled_the_lifespan_is_the_apps_alone(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    monkeypatch.setattr(state, "DISABLED", True)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    app: Any
    if way == "wrapper":
        app = driver.wrap(well_behaved(driver))
    else:
        app = Starlette(lifespan=mpclean_lifespan(**driver.options))
    log = run(driver, app, "asyncio")
    assert [line for line in log if "app" not in line] == ["startup.complete", "shutdown.complete"]
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert driver.mail in driver.registry
    monkeypatch.undo()
    driver.registry.clean()


@pytest.mark.parametrize("way", ["wrapper", "lifespan"])
def test_told_to_stop_before_it_has_started(way: str) -> None:
    """Some servers skip the shutdown then, so the app has its own before it is said to be up."""
    previous = signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    try:
        driver = Driver()

        @contextlib.asynccontextmanager
        async def lifespan(_app: Any) -> AsyncIterator[None]:
            signal.raise_signal(signal.SIGTERM)
            driver.log.append("enter")
            yield
            driver.log.append("exit")

        app: Any
        if way == "lifespan":
            app = Starlette(lifespan=mpclean_lifespan(lifespan, **driver.options))
        else:
            app = driver.wrap(Starlette(lifespan=lifespan))
        log = run(driver, app, "asyncio")
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert log == ["enter", "exit", "cleaned", "startup.complete", "shutdown.complete"]


class RaisingServer:
    """Raises at its end what it was told to stop by, as uvicorn's does: the process dies of it."""

    def handle_exit(self, _signum: int, _frame: object) -> None:
        """Be told to stop."""

    def capture_signals(self) -> None:
        """Be known by this name."""


@pytest.mark.parametrize("way", ["wrapper", "lifespan"])
@pytest.mark.parametrize("early", [False, True], ids=["", "before it has started"])
def test_what_the_app_lets_go_of_in_its_shutdown_is_counted(way: str, early: bool) -> None:
    """The items are in the pipe, and nothing else in the process knows of the queue any more."""
    previous = signal.signal(signal.SIGTERM, RaisingServer().handle_exit)
    reports: list[CleanupReport] = []
    try:
        driver = Driver(on_report=reports.append)

        @contextlib.asynccontextmanager
        async def lifespan(_app: Any) -> AsyncIterator[None]:
            queue = SPAWN.Queue()
            queue.put(1)
            assert queue._reader.poll(20)  # type: ignore[attr-defined]
            if early:
                signal.raise_signal(signal.SIGTERM)
            yield
            del queue

        app: Any
        if way == "lifespan":
            app = Starlette(lifespan=mpclean_lifespan(lifespan, **driver.options))
        else:
            app = driver.wrap(Starlette(lifespan=lifespan))
        signals = [] if early else [signal.SIGTERM]
        run(driver, app, "asyncio", signals=signals)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert [report.dropped for report in reports] == [1]


def test_an_ignored_signal_stays_ignored() -> None:
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with contextlib.ExitStack() as stack:
            driver = Driver()
            seen: list[Any] = []

            async def app(_scope: Any, receive: Any, send: Any) -> None:
                await receive()
                seen.append(signal.getsignal(signal.SIGINT))
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})

            stack.callback(signal.signal, signal.SIGINT, previous)
            run(driver, driver.wrap(app), "asyncio")
    finally:
        signal.signal(signal.SIGINT, previous)
    assert seen == [signal.SIG_IGN]
