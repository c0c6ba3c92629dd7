"""A granian worker hears one stop, whatever comes and when; real granian: harm/test_early_stops."""

from __future__ import annotations

import asyncio
import signal
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import pytest
from script import Script

from asgi_mpclean._asgi.one_stop import OneStop, granians_handler
from asgi_mpclean._shutdown.signals.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no loop handles signals there")

INT, TERM = signal.SIGINT, signal.SIGTERM


def loops() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    made: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop]
    try:
        import uvloop  # noqa: PLC0415 - not on every Python
    except ImportError:
        return made
    return [*made, uvloop.new_event_loop]


class Worker:
    """What granian's worker does with signals, in a loop of ours."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.heard = 0
        self.stopped = asyncio.Event()
        event = self

        def handler(_signum: int, _frame: object) -> None:
            event.set()

        for signum in (INT, TERM):
            loop.add_signal_handler(signum, handler, signum, None)
        self.watch = Watch(self.clean)
        self.one_stop = OneStop(self.watch, loop, cast("FunctionType", handler))

    def clean(self, name: str, *, kills: bool) -> None:
        """Clean up at a second CTRL-C: there is nothing."""
        self.cleaned = name, kills

    def set(self) -> None:
        """Hear of a stop."""
        self.heard += 1
        self.stopped.set()

    async def begin(self) -> None:
        self.one_stop.begin()
        self.watch.chain([INT, TERM])

    async def turn(self) -> None:
        """Let the loop look at the signals that have come, which takes it two rounds."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def end(self) -> None:
        await asyncio.wait_for(self.stopped.wait(), 10)
        await self.turn()
        self.one_stop.stop()


@pytest.mark.parametrize(
    ("make_loop", "rounds"),
    # In so many rounds of the loop no handler has been called; in the last one it is queued.
    [
        (make, rounds)
        for make in loops()
        for rounds in range(3 if make is asyncio.new_event_loop else 2)
    ],
)
@pytest.mark.parametrize(
    ("before", "while_starting", "served"),
    [
        ([], [INT], []),
        ([], [TERM], []),
        ([], [INT, TERM], []),
        ([], [TERM, INT, TERM], []),
        ([], [], [INT]),
        ([], [], [TERM]),
        ([], [], [INT, TERM, INT]),
        ([INT], [], []),
        ([INT, TERM], [], []),
        ([TERM], [INT], []),
        ([INT], [TERM], []),
        ([INT], [INT], [TERM]),
    ],
)
def test_the_worker_hears_one_stop(
    before: list[signal.Signals],
    while_starting: list[signal.Signals],
    served: list[signal.Signals],
    make_loop: Callable[[], asyncio.AbstractEventLoop],
    rounds: int,
) -> None:
    """When the lifespan begins, the loop has not looked at what came, or has queued the handler."""

    async def run(worker: Worker) -> None:
        for signum in before:
            signal.raise_signal(signum)
        for _ in range(rounds):
            await asyncio.sleep(0)
        assert worker.heard == 0
        await worker.begin()
        for signum in while_starting:
            signal.raise_signal(signum)
        await worker.turn()
        assert worker.heard == 0
        worker.one_stop.give()
        for signum in served:
            signal.raise_signal(signum)
        await worker.end()
        for signum in (INT, TERM):  # In the course of its shutdown.
            signal.raise_signal(signum)
        await worker.turn()

    found = {signum: signal.getsignal(signum) for signum in (INT, TERM)}
    loop = make_loop()
    worker = Worker(loop)
    try:
        loop.run_until_complete(run(worker))
    finally:
        worker.watch.stop()
        loop.close()
        for signum, handler in found.items():
            signal.signal(signum, handler)
    assert worker.heard == 1


@pytest.mark.skipif(find_spec("granian") is None, reason="granian is not built for it")
def test_what_granian_gives_its_loop_is_found_or_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from granian import _signals  # noqa: PLC0415 - not on every Python

    signals: Any = _signals
    loop = asyncio.new_event_loop()
    found = {signum: signal.getsignal(signum) for signum in (INT, TERM)}
    try:
        assert granians_handler() is None  # No worker has been started.
        signals.set_loop_signals(loop)
        handler = granians_handler()
        assert handler is not None
        assert (handler.__module__, handler.__name__) == ("granian._signals", "signal_handler")
        monkeypatch.delattr(signals, "set_loop_signals")
        assert granians_handler() is None
    finally:
        loop.close()
        for signum, before in found.items():
            signal.signal(signum, before)


@pytest.mark.parametrize("make_loop", loops(), ids=lambda made: made.__module__)
@pytest.mark.parametrize("listen", ["", "unheard.listen()"], ids=["", "listening"])
def test_a_stop_between_two_runs_is_known_to_be_missed(
    listen: str, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """uvloop hears only while it runs; the handler of asyncio does not tell whose it is."""
    body = f"""
    import {make_loop.__module__} as module
    from asgi_mpclean._shutdown.signals import unheard
    from asgi_mpclean._shutdown.signals.watch import Watch
    {listen}
    loop = module.new_event_loop()
    loop.add_signal_handler(signal.SIGTERM, print)
    watch = Watch(print)
    watch.chain([signal.SIGTERM])
    async def start(): pass
    loop.run_until_complete(start())
    signal.raise_signal(signal.SIGTERM)
    say([handler.hearing.name for handler in watch.come()])
    os._exit(0)
    """
    hearing = "MISSED" if make_loop.__module__ == "uvloop" else "UNKNOWN"
    assert Script(body).end() == (0, [f"['{hearing}']"])


LISTEN = """
from asgi_mpclean._shutdown.signals import unheard
signal.signal(signal.SIGTERM, lambda *_: None)
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "unheard.listen(); signal.raise_signal(15); say(unheard.take(), unheard.take())",
            "{15} set()",
        ),
        ("signal.raise_signal(15); unheard.listen(); say(unheard.take())", "set()"),
        ("say(unheard.take())", "set()"),
        (
            """
import socket
mine = socket.socketpair()
mine[1].setblocking(False)
signal.set_wakeup_fd(mine[1].fileno())
unheard.listen()
signal.raise_signal(15)
say(unheard.take(), mine[0].recv(9))
signal.set_wakeup_fd(-1)
""",
            r"set() b'\x0f'",
        ),
        (
            """
unheard.listen()
pid = os.fork()
if not pid:
    signal.raise_signal(15)
    os._exit(signal.set_wakeup_fd(-1) != -1)
say(os.waitpid(pid, 0)[1], unheard.take())
""",
            "0 set()",
        ),
    ],
    ids=["whoever handles it", "before", "not asked", "somebody else's", "a fork's are its own"],
)
def test_what_no_loop_hears_is_noted(body: str, said: str) -> None:
    status, lines = Script(LISTEN + body).end()
    assert (status, lines) == (0, [said])
