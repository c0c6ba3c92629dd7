"""Servers in one process, of which one ends while the others serve; nothing of them is shared.

Its words: how they run, how many, where each app registers its queue and how it has the library.
The servers stop one after the other, the first first, each when the one before has ended; the last
is stopped by the program as well, or by a signal ("signal").
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette

from asgi_mpclean import MPCleanLifespan, Registry, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUN, COUNT, WHERE, ATTACH, LAST = sys.argv[1:6]
CTX = multiprocessing.get_context("spawn")
outside = CTX.Queue()
started = threading.Semaphore(0)


def say(*words: object) -> None:
    print(*words, flush=True)


def pass_through(queue: Any, item: str) -> str:
    queue.put(item)
    return str(queue.get(timeout=5))


class One:
    """A server, its app, and the queue that the app makes at its start-up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.registry = Registry()
        own: dict[str, Any] = {"registry": self.registry} if WHERE == "own" else {}
        if ATTACH == "wrapper":
            app: Any = MPCleanLifespan(Starlette(lifespan=self.lifespan), **own)
        else:
            app = Starlette(lifespan=mpclean_lifespan(self.lifespan, **own))
        config = uvicorn.Config(app, fd=listen(), log_level="warning")
        self.server = uvicorn.Server(config)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        put = {"own": self.registry.register, "global": register, "nowhere": lambda queue: queue}
        self.queue = put[WHERE](CTX.Queue())
        started.release()
        yield
        say(self.name, "ends with", pass_through(self.queue, "last words"))


def listen() -> int:
    """Return a descriptor that stays open, as a server that is given one does not close it."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    return listening.detach()


def stop_in_turn(servers: list[One], ended: list[threading.Event]) -> None:
    for _ in servers:
        started.acquire()
    for number, one in enumerate(servers):
        say("stopping", one.name)
        if LAST == "signal" and number == len(servers) - 1:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            one.server.should_exit = True
        ended[number].wait(10)
        for other in servers[number + 1 :]:
            say(other.name, "goes on with", pass_through(other.queue, "work"))
        say("outside", pass_through(outside, "work"))


async def in_one_loop(servers: list[One], ended: list[threading.Event]) -> None:
    async def serve(number: int) -> None:
        await servers[number].server.serve()
        ended[number].set()

    await asyncio.gather(*(serve(number) for number in range(len(servers))))


def in_threads(servers: list[One], ended: list[threading.Event]) -> None:
    def serve(number: int) -> None:
        servers[number].server.run()
        ended[number].set()

    threads = [threading.Thread(target=serve, args=(n,)) for n in range(len(servers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    if WHERE == "global":
        register(outside)
    servers = [One(name) for name in ("first", "second", "third")[: int(COUNT)]]
    ended = [threading.Event() for _ in servers]
    stopper = threading.Thread(target=stop_in_turn, args=(servers, ended))
    stopper.start()
    with contextlib.suppress(KeyboardInterrupt):
        if RUN == "loop":
            asyncio.run(in_one_loop(servers, ended))
        else:
            in_threads(servers, ended)
    for event in ended:
        event.set()
    stopper.join()
    say("over", pass_through(outside, "at last"))


if __name__ == "__main__":
    main()
