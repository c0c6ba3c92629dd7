"""A script ends with the status that it has without the library, and its handlers run once."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest
from kit import LONG, assert_same, both, run

from asgi_mpclean._check.server import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

# Python dies of a CTRL-C that nobody has caught by the signal itself, unless code has been run
# from a string meanwhile, such as what makes a named tuple or a dataclass: at the exit, by an
# `on_item`, or by a handler of the logging that imports something late.
PROGRAM = """
import collections, logging, multiprocessing, os, signal, sys, threading
import asgi_mpclean

class Late(logging.Handler):
    def emit(self, record):
        collections.namedtuple("Record", "text")

logging.getLogger().addHandler(Late())
logging.getLogger().setLevel("INFO")

def store(item):
    collections.namedtuple("Item", "value")

def main(what, end):
    context = multiprocessing.get_context("spawn")
    # It is kept: without the library it would go just when CTRL-C comes, which its end would take.
    global kept
    if what == "queue":
        kept = asgi_mpclean.register(context.Queue())
    elif what == "items":
        kept = asgi_mpclean.register(context.Queue(), on_item=store)
        kept.put(1)
    elif what == "app":
        asgi_mpclean.MPCleanLifespan(main)
        globals()["unregistered"] = context.Queue()
    if end != "caught":
        print("ready", flush=True)
    if end == "exit":
        sys.exit(3)
    if end == "error":
        raise OSError("on purpose")
    if end == "caught":
        try:
            print("ready", flush=True)
            while True:  # In steps: a signal that comes just before a wait does not end it.
                threading.Event().wait(0.02)
        except KeyboardInterrupt:
            return
    if end == "handler":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        signal.raise_signal(signal.SIGTERM)
    while True:
        threading.Event().wait(0.02)

if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None
"""

ENDS: dict[str, tuple[Any, int]] = {
    "CTRL-C": (Server.interrupt, -signal.SIGINT),
    "caught": (Server.interrupt, 0),
    "exit": (None, 3),
    "error": (None, 1),
    "handler": (None, 143),
    "SIGTERM": (lambda server: server.signal(signal.SIGTERM), -signal.SIGTERM),
}
KINDS = ("queue", "items", "app")
SHORT = [("CTRL-C", kind) for kind in KINDS] + [("caught", "items"), ("handler", "items")]
ALL = [(end, kind) for end in ENDS for kind in KINDS]


@pytest.mark.parametrize(("end", "kind"), ALL if LONG else SHORT)
def test_the_status_stays(end: str, kind: str) -> None:
    stop, status = ENDS[end]
    without, within = both(PROGRAM, kind, end, stop=stop)
    assert without.status == status
    assert within.status == status
    assert within.tracebacks == without.tracebacks


# One signal, one call ----------------------------------------------------------------------------

ONCE = """
import asyncio, multiprocessing, os, signal, sys, threading
import asgi_mpclean

count = []
busy = threading.Event()

def raise_while_busy(signum):
    busy.wait()
    os.kill(os.getpid(), signum)

def on_item(item):
    busy.set()
    threading.Event().wait(0.3)

def clean_up(how, signum):
    registry = asgi_mpclean.Registry()
    queue = multiprocessing.get_context("spawn").Queue()
    queue.put(1)
    thread = threading.Thread(target=raise_while_busy, args=(signum,))
    thread.start()
    if how == "clean()":
        registry.register(queue, on_item=on_item)
        registry.clean()
    else:
        with registry:
            registry.register(queue, on_item=on_item)
    thread.join()

async def by_asyncio(how, signum):
    asyncio.get_running_loop().add_signal_handler(signum, lambda: count.append(1))
    clean_up(how, signum)
    await asyncio.sleep(0.1)

async def by_trio(how, signum):
    import trio
    with trio.open_signal_receiver(signum) as signals:
        clean_up(how, signum)
        with trio.move_on_after(0.1):
            async for _ in signals:
                count.append(1)

async def by_anyio(how, signum):
    import anyio
    with anyio.open_signal_receiver(signum) as signals:
        clean_up(how, signum)
        with anyio.move_on_after(0.1):
            async for _ in signals:
                count.append(1)

def by_handler(how, signum):
    signal.signal(signum, lambda *_: count.append(1))
    clean_up(how, signum)

if __name__ == "__main__":
    kind, how, signum = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if kind == "asyncio":
        asyncio.run(by_asyncio(how, signum))
    elif kind == "anyio":
        asyncio.run(by_anyio(how, signum))
    elif kind == "trio":
        import trio
        trio.run(by_trio, how, signum)
    else:
        by_handler(how, signum)
    print("called", len(count), "times")
"""
HOW = ("clean()", "with")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["asyncio", "anyio", "trio", "handler"])
@pytest.mark.parametrize("how", HOW if LONG else HOW[:1])
@pytest.mark.sampled(3)
def test_a_signal_during_a_clean_up_is_heard_once(kind: str, how: str, signum: int) -> None:
    outcome = run(ONCE, kind, how, str(int(signum)))
    assert outcome.output.splitlines()[-1] == "called 1 times"
    assert outcome.status == 0


# A lifespan that swallows what is thrown into it -------------------------------------------------

SWALLOW = """
import asyncio, contextlib, sys
from asgi_mpclean import mpclean_lifespan

@contextlib.asynccontextmanager
async def lifespan(app):
    try:
        yield {"database": 1}
    except BaseException as error:
        print("closing after", type(error).__name__)
        if sys.argv[2] == "raises another":
            raise OSError("closing failed") from None
        if sys.argv[2] == "raises it":
            raise

class ByClass:
    def __init__(self, app):
        self.inner = lifespan(app)
    async def __aenter__(self):
        return await self.inner.__aenter__()
    async def __aexit__(self, *error):
        return await self.inner.__aexit__(*error)

async def serve(context, error):
    try:
        async with context(None) as state:
            if error == "cancelled":
                await asyncio.Event().wait()
            raise {"error": OSError, "exit": SystemExit}[error]("thrown in")
        print("over", state is not None)
    except BaseException as error:
        print("came out:", repr(error))

async def main():
    error = sys.argv[1]
    made = ByClass if sys.argv[3] == "class" else lifespan
    context = mpclean_lifespan(made)
    task = asyncio.create_task(serve(context, error))
    await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])

ALONE = sys.argv[4] == "alone"
if ALONE:
    mpclean_lifespan = lambda lifespan: lifespan
asyncio.run(main())
"""


@pytest.mark.parametrize("made", ["generator", "class"])
@pytest.mark.parametrize("does", ["swallows", "raises it", "raises another"])
@pytest.mark.parametrize("error", ["cancelled", "error", "exit"] if LONG else ["cancelled"])
def test_what_is_thrown_into_a_lifespan(error: str, does: str, made: str) -> None:
    alone = run(SWALLOW, error, does, made, "alone", library=False)
    assert "closing after" in alone.output
    within = run(SWALLOW, error, does, made, "wrapped")
    assert_same(alone, within)
