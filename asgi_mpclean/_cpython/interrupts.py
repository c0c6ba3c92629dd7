"""CTRL-C in CPython: asyncio's handler for it, and the exit status of a program that it ended."""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import Any


def is_dead(handler: Any) -> bool:
    """Tell whether a handler is that of an asyncio runner whose main task has ended.

    It would cancel nothing any more, and keep the next runner from handling CTRL-C. By the names
    `Runner._on_sigint` (3.11 and newer; anyio has a copy for 3.10) and `main_task`.
    """
    if type(handler) is not functools.partial:
        return False
    task = handler.keywords.get("main_task")
    name = getattr(handler.func, "__name__", "")
    return name == "_on_sigint" and task is not None and bool(task.done())


def keep_status() -> None:
    """Let the exit status stay that of a KeyboardInterrupt, if that ends the program.

    Up to Python 3.12 the interpreter forgets it when an exit function executes a string, as many a
    late import does; a KeyboardInterrupt that leaves such a string makes it remember.
    """
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    if not isinstance(error, KeyboardInterrupt) or hasattr(sys, "ps1"):
        return
    with contextlib.suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")  # noqa: S102 - see above
