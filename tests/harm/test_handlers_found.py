"""Who looks at a signal's handler finds what would be there without the library.

A handler of ours answers for the one that it stands on, whatever is asked; it is not there any
more when nobody needs it; and a handler that looks for itself when it is called finds itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import signal
import sys
import threading
import unittest
import unittest.signals
from typing import TYPE_CHECKING, Any

import asgi_lifespan
import pytest
from driver import SPAWN

import asgi_mpclean
from asgi_mpclean import MPCleanLifespan, Registry, mpclean_lifespan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server:
    """Handles signals by a method, as uvicorn's does."""

    def __init__(self) -> None:
        self.should_exit = False
        self.calls: list[int] = []

    def handle_exit(self, signum: int, _frame: object) -> None:
        """Stop."""
        self.should_exit = True
        self.calls.append(signum)


class Instance(Server):
    """Handles them by being called, and has words of its own."""

    word = "mine"

    def __call__(self, signum: int, frame: object) -> None:
        self.handle_exit(signum, frame)


def function(_signum: int, _frame: object) -> None:
    """Handle a signal."""


FOUND: dict[str, Any] = {
    "method": Server().handle_exit,
    "function": function,
    "partial": functools.partial(function),
    "instance": Instance(),
    "Python's": signal.default_int_handler,
}
found_each = pytest.mark.parametrize("found", FOUND.values(), ids=FOUND)

ASKED = (
    *("__self__", "__func__", "__name__", "__qualname__", "__module__", "__doc__", "__code__"),
    *("__wrapped__", "__defaults__", "func", "args", "keywords", "word", "calls"),
    *("should_exit", "nothing_of_the_kind"),
)


async def idle(_scope: Any, receive: Any, send: Any) -> None:
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})


@contextlib.contextmanager
def lifespan(app: Any = None) -> Iterator[Any]:
    """Run a lifespan in the main thread, as servers do."""
    loop = asyncio.new_event_loop()
    stack = contextlib.AsyncExitStack()

    async def enter() -> None:
        manager = asgi_lifespan.LifespanManager(app or MPCleanLifespan(idle))
        await stack.enter_async_context(manager)

    loop.run_until_complete(enter())
    try:
        yield loop
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()


@contextlib.contextmanager
def handled_by(handler: Any) -> Iterator[None]:
    before = {signum: signal.signal(signum, handler) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, found in before.items():
            signal.signal(signum, found)


@found_each
@pytest.mark.parametrize("name", ASKED)
def test_the_answers_are_those_of_the_handler_below(found: Any, name: str) -> None:
    with handled_by(found), lifespan():
        handler = signal.getsignal(signal.SIGTERM)
        assert hasattr(handler, name) == hasattr(found, name)
        assert getattr(handler, name, None) == getattr(found, name, None)


@found_each
def test_it_is_equal_to_the_handler_below(found: Any) -> None:
    with handled_by(found), lifespan():
        handler = signal.getsignal(signal.SIGTERM)
        assert handler == found
        assert found == handler
        assert not handler != found  # noqa: SIM202 - a method of its own
        assert {found: "its value"}[handler] == "its value"
        assert handler != signal.SIG_DFL
        assert inspect.ismethod(handler) == inspect.ismethod(found)
        assert isinstance(handler, type(found))
        assert callable(handler)


def test_a_guard_is_equal_to_the_default() -> None:
    """Programs install handlers of their own where they find the default."""
    asgi_mpclean.register(SPAWN.Lock())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.SIG_DFL == signal.getsignal(signal.SIGTERM)  # noqa: SIM300 - its own method
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_IGN
    asgi_mpclean.clean()


def test_the_server_is_seen_to_stop() -> None:
    """As sse-starlette looks, again and again."""
    server = Server()
    with handled_by(server.handle_exit), lifespan():
        looked_at = signal.getsignal(signal.SIGTERM).__self__  # type: ignore[union-attr]
        assert looked_at is server
        signal.raise_signal(signal.SIGTERM)
        assert looked_at.should_exit
    assert server.calls == [signal.SIGTERM]


def test_a_handler_finds_itself_when_it_is_called() -> None:
    """As unittest's does, which passes the signal on if another has taken its place."""
    result = unittest.TestResult()
    with handled_by(signal.default_int_handler):
        try:
            unittest.installHandler()
            unittest.registerResult(result)
            with lifespan(), contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            assert result.shouldStop
        finally:
            unittest.removeHandler()
            unittest.signals._interrupt_handler = None  # type: ignore[attr-defined]


def test_a_handler_may_replace_itself_when_it_is_called() -> None:
    """As one does that takes the second signal for more urgent."""
    calls = []

    def first(_signum: int, _frame: object) -> None:
        calls.append("first")
        signal.signal(signal.SIGTERM, second)

    def second(_signum: int, _frame: object) -> None:
        calls.append("second")

    with handled_by(first), lifespan():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert calls == ["first", "second"]
        assert signal.getsignal(signal.SIGTERM) == second


# What is found at the start is there at the end --------------------------------------------------


def one_in_the_other() -> None:
    with lifespan(), lifespan():
        pass


def the_first_ends_first() -> None:
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(lifespan())
    second.enter_context(lifespan())
    first.close()
    second.close()


def registered_in_it() -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        asgi_mpclean.register(SPAWN.Lock())
        await idle(_scope, receive, send)

    with lifespan(MPCleanLifespan(app)):
        pass


def registered_before_it() -> None:
    registry = Registry()
    registry.register(SPAWN.Lock())
    with lifespan(MPCleanLifespan(idle, registry=registry)):
        pass


def a_dropped_registry() -> None:
    Registry().register(SPAWN.Lock())
    gc.collect()


def registries_end_crosswise() -> None:
    registries = [Registry() for _ in range(3)]
    for registry in registries:
        registry.register(SPAWN.Lock())
    for registry in registries:
        registry.clean()


def cleaned_in_a_thread() -> None:
    registry = Registry()
    registry.register(SPAWN.Lock())
    thread = threading.Thread(target=registry.clean)
    thread.start()
    thread.join()


def somebody_else_in_between() -> None:
    """A debugger, say, that puts back what it has found when the lifespan is over."""
    with lifespan():
        found = {signum: signal.signal(signum, function) for signum in SIGNALS}
    for signum, handler in found.items():
        signal.signal(signum, handler)


def the_loop_ends_first() -> None:
    """asyncio.run cancels what is still running, a lifespan among it."""

    async def main() -> None:
        started = asyncio.Event()

        async def receive() -> dict[str, str]:
            if started.is_set():
                await asyncio.Event().wait()
            return {"type": "lifespan.startup"}

        async def send(_message: object) -> None:
            started.set()

        app = MPCleanLifespan(idle)
        main.task = asyncio.ensure_future(app({"type": "lifespan"}, receive, send))  # type: ignore[attr-defined]
        await started.wait()

    asyncio.run(main())


def by_the_lifespan_parameter() -> None:
    async def main() -> None:
        async with mpclean_lifespan()(None):
            asgi_mpclean.register(SPAWN.Lock())

    asyncio.run(main())


WAYS = {
    way.__name__: way
    for way in (
        *(one_in_the_other, the_first_ends_first, registered_in_it, registered_before_it),
        *(a_dropped_registry, registries_end_crosswise, cleaned_in_a_thread),
        *(somebody_else_in_between, the_loop_ends_first, by_the_lifespan_parameter),
    )
}
TIMES = 30


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_handlers_found_are_put_back(way: Callable[[], None]) -> None:
    calls = []

    def found(_signum: int, _frame: object) -> None:
        calls.append(len(inspect.stack(0)))

    # asyncio.run handles CTRL-C only where it finds Python's own handler.
    handlers: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: found,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
    try:
        way()
        assert {signum: signal.getsignal(signum) for signum in handlers} == handlers
        signal.raise_signal(signal.SIGTERM)
        for _ in range(TIMES):
            way()
        signal.raise_signal(signal.SIGTERM)
        assert calls == [calls[0]] * 2  # Once for each, and through no more frames than before.
        with lifespan():
            pass
        # These very ones, not what answers for them.
        assert all(signal.getsignal(signum) is handlers[signum] for signum in handlers)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio handles CTRL-C since 3.11")
def test_ctrl_c_is_asyncios_again_after_a_loop_that_ended_first() -> None:
    """Its runner takes CTRL-C for a cancellation, where it finds Python's own handler."""
    ended = []

    async def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with handled_by(signal.default_int_handler):
        the_loop_ends_first()
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main())
    assert ended == ["cancelled"]
