"""Clean-ups that are disturbed, or come at odd times; each function takes the app."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from world import say

import asgi_mpclean
from asgi_mpclean import Registry
from asgi_mpclean._shutdown.request import Request
from asgi_mpclean._shutdown.triggers import clean_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from world import World

LIBRARY = os.path.dirname(asgi_mpclean.__file__)


class Disturb:
    """Does something once, before one of the lines of the library that the main thread runs.

    Args:
        step: The number of the line.
        act: What is done then.
    """

    def __init__(self, step: int, act: Callable[[], object]) -> None:
        self.left = step
        self._act = act

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Disturb | None:
        if not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                self._act()
        return self


class Steps:
    """Clean-ups of two items each, with a registry of their own, disturbed at one step."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._registry = Registry()

    def _on_item(self, item: Any) -> None:
        self._world.got["steps"].append(item)

    def clean(self, *_: object) -> None:
        """Clean up; also as a signal's handler."""
        clean_up(
            Request(
                "step",
                5.0,
                (self._registry,),
                on_report=lambda report: say("REPORT", report.to_dict()),
            )
        )

    def run(self, step: int, signum: int) -> bool:
        """Clean up once; tells whether there was such a step."""
        world, self._registry = self._world, Registry()
        queue = self._registry.register(world.ctx.Queue(), name="steps", on_item=self._on_item)
        for _ in range(2):
            queue.put(world.entered["steps"])
            world.entered["steps"] += 1
        disturb = Disturb(step, functools.partial(signal.raise_signal, signum))
        for trace in (disturb, None):
            # Interrupted before it had begun, or when it was done: the second call settles it.
            with contextlib.suppress(KeyboardInterrupt):
                sys.settrace(trace)
                self.clean()
            sys.settrace(None)
        return disturb.left <= 0


def signal_at_each_step(world: World) -> None:
    """One that raises, and one whose handler cleans up itself."""
    steps = Steps(world)
    for signum, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGUSR1, steps.clean),
    ):
        found = signal.signal(signum, handler)
        step = 1
        while steps.run(step, signum):
            step += 1
        say("STEPS", step - 1)
        signal.signal(signum, found)


def exit_from_a_thread(world: World) -> None:
    """As a window that is closed does it; or the main thread is through, another one cleans up."""
    run: Any = atexit

    def exit_functions() -> None:
        run._run_exitfuncs()
        os._exit(0)

    def clean() -> None:
        threading.main_thread().join()
        world.clean_all()

    by_thread = world.rng.choice((exit_functions, clean))

    def end() -> None:
        thread = threading.Thread(target=by_thread)
        thread.start()
        if by_thread is exit_functions:
            thread.join()

    world.end = end


class CleansWhenDeleted:
    """It outlives nearly everything."""

    def __init__(self, world: World) -> None:
        self._clean = world.clean_all

    def __del__(self) -> None:
        self._clean()


def interpreter_finalising(world: World) -> None:
    """Clean-ups come from exit functions, daemon threads and destructors, until nothing is left."""
    sys.modules["kept_to_the_end"] = CleansWhenDeleted(world)  # type: ignore[assignment]

    def clean_again_and_again() -> None:
        while True:
            world.clean_all()

    def end() -> None:
        atexit.register(world.clean_all)
        if world.rng.random() < 0.5:
            threading.Thread(target=clean_again_and_again, daemon=True).start()

    world.end = end
