"""A Python script in a process of its own: real signals, a real exit, and what it printed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HERE = Path(__file__).parent

PROLOGUE = """
import multiprocessing, os, signal, sys, threading, time, atexit, logging
sys.path.insert(0, {here!r})
import asgi_mpclean, workers
workers.save_coverage_before_death()
ctx = multiprocessing.get_context("spawn")
got = []
def say(*words): print(*words, flush=True)
def mail(on_item=lambda item: say("item", item)):
    queue = asgi_mpclean.register(ctx.Queue(), on_item=on_item)
    for number in range(3): queue.put(number)
    return queue
"""


class Script:
    """A Python script that runs until it is told to end."""

    def __init__(
        self,
        body: str,
        *,
        before: Callable[[], None] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        source = PROLOGUE.format(here=str(HERE)) + textwrap.dedent(body)
        self.process = subprocess.Popen(
            # The scripts fork with threads on purpose.
            [sys.executable, "-u", "-W", "ignore::DeprecationWarning", "-c", source],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 - no threads yet
        )

    def ready(self) -> Script:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return self

    def send(self, signum: int) -> Script:
        self.process.send_signal(signum)
        return self

    def end(self, timeout: float = 20) -> tuple[int, list[str]]:
        """Return the exit status and the lines printed, those of the resource tracker included."""
        try:
            output, _ = self.process.communicate(timeout=timeout)
        except BaseException:
            # With its children, and to the end: another test must not be told of them.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            raise
        return self.process.returncode, output.splitlines()


DELIVERED = ["item 0", "item 1", "item 2"]
# In steps: Python runs no handler for a signal that comes just before a sleep, until that ends.
SLEEP = "while True: time.sleep(0.05)"
WAIT = f'say("ready")\n{SLEEP}\n'
