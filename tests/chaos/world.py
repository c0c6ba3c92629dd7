"""A small app to do harm to: what goes into its queues is counted, and what comes out."""

from __future__ import annotations

import collections
import functools
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import peers

import asgi_mpclean

if TYPE_CHECKING:
    from collections.abc import Callable

STARTING = 20.0
"""Seconds that a worker may take to start and to get where it shall be harmed."""


def say(word: str, facts: object) -> None:
    """Tell the test something, in one write, whatever the interpreter is doing."""
    os.write(1, f"{word} {json.dumps(facts)}\n".encode())


def until(condition: Callable[[], object]) -> None:
    """Wait for the moment to do harm."""
    deadline = time.monotonic() + STARTING
    while not condition():
        if time.monotonic() > deadline:
            msg = "the moment to do harm did not come"
            raise TimeoutError(msg)
        time.sleep(0.001)


class World:
    """An app with a queue of its own items and one that a worker fills; faults add theirs.

    Attributes:
        entered: Items that reached a queue, by the queue's name. What a killed worker still had in
            its own feeder never did: peers write what is counted through to the pipe.
        lossy: The most items that may be dropped, by the queue's name; none, where it is not there.
        got: The items received, by the queue's name.
        last: What goes wrong last, when all is set up.
        end: What ends it.
    """

    def __init__(self, seed: int, method: str) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - it shall be repeatable
        self.method = method
        self.ctx: Any = multiprocessing.get_context(method)
        self.entered: collections.Counter[str] = collections.Counter()
        self.lossy: collections.Counter[str] = collections.Counter()
        self.got: collections.defaultdict[str, list[int]] = collections.defaultdict(list)
        self.end = self.rng.choice((self.clean, self.clean_all, self.sigterm, self.leave))
        self.last: list[Callable[[], None]] = []
        self._kept: list[Any] = []
        self.give_time(round(self.rng.uniform(1.5, 2.5), 1))

    def give_time(self, timeout: float) -> None:
        """Set the options that count at a signal and at the exit, as an app does."""
        self.timeout = timeout
        app: Any = print  # Never called.
        self.keep(asgi_mpclean.MPCleanLifespan(app, timeout=timeout, on_report=self.note))

    def populate(self) -> None:
        """Have what every app has: items, and a worker that fills a pipe nobody reads."""
        mail = self.queue("mail")
        self.put(mail, "mail", self.rng.randrange(200))
        count, size = self.rng.randrange(1, 300), self.rng.choice((1, 1024))
        results = self.queue("results", kind="SimpleQueue")
        self.entered["results"] += count
        asked, ask = self.ctx.Pipe(duplex=False)
        stop = functools.partial(ask.send, None)
        self.worker(peers.fill_until_asked, asked, results, count, size, stop=stop)
        asked.close()

    # Making things --------------------------------------------------------------------------

    def queue(
        self, name: str, *, kind: str = "", on_item: Callable[[Any], object] | None = None
    ) -> Any:
        """Register a queue; what comes out of it is noted."""
        kind = kind or self.rng.choice(("Queue", "JoinableQueue"))

        def receive(item: Any) -> None:
            self.got[item[0]].append(item[1])
            if on_item is not None:
                on_item(item)

        queue = getattr(self.ctx, kind)()
        return asgi_mpclean.register(queue, name=name, on_item=receive)

    def put(self, queue: Any, name: str, count: int, *, size: int = 0) -> None:
        """Put numbered items."""
        for number in range(self.entered[name], self.entered[name] + count):
            queue.put((name, number, b"x" * size))
        self.entered[name] += count

    def worker(
        self, target: Callable[..., None], *args: Any, stop: Callable[[], object] | None = None
    ) -> Any:
        """Start a worker, the library's or a plain one, and wait until it says that it is there."""
        ready, there = self.ctx.Pipe(duplex=False)
        if self.rng.random() < 0.5:
            worker = asgi_mpclean.Process(
                target=target, args=(there, *args), ctx=self.ctx, stop=stop
            )
        else:
            worker = self.ctx.Process(target=target, args=(there, *args))
            asgi_mpclean.register(worker, stop=stop)
        worker.start()
        there.close()
        if not ready.poll(STARTING):
            msg = f"{target.__name__} did not start"
            raise TimeoutError(msg)
        ready.recv()
        ready.close()
        return worker

    def kill(self, worker: Any) -> None:
        """Kill a worker at some moment."""
        self.moment()
        os.kill(worker.pid, signal.SIGKILL)
        if self.rng.random() < 0.5:
            worker.join()

    def moment(self) -> None:
        """Let some time pass: when the fault comes is a part of it."""
        time.sleep(self.rng.random() * 0.02)

    def keep(self, thing: Any) -> Any:
        """Keep a thing alive until the end."""
        self._kept.append(thing)
        return thing

    # The ends -------------------------------------------------------------------------------

    def run_to_the_end(self) -> None:
        """Tell what went in, and that the time runs; and end."""
        for fault in self.last:
            fault()
        facts = {"entered": self.entered, "lossy": self.lossy, "timeout": self.timeout}
        say("BEGIN", {**facts, "at": time.monotonic()})
        self.end()

    def note(self, report: asgi_mpclean.CleanupReport) -> None:
        """Tell what a clean-up did."""
        if report.resources:
            say("REPORT", report.to_dict())
            say("GOT", self.got)

    @property
    def faulty(self) -> set[str]:
        """The queues that were not there from the beginning."""
        return set(self.entered) - {"mail", "results"}

    def clean(self) -> None:
        """Clean up what is registered, and go on to the exit."""
        self.note(asgi_mpclean.clean(self.timeout))

    def clean_all(self) -> None:
        """Clean up everything, and go on to the exit."""
        self.note(asgi_mpclean.clean(self.timeout, discover=True))

    def sigterm(self) -> None:
        """Die of SIGTERM."""
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(60)

    def leave(self) -> None:
        """Just end."""
