"""The private names of CPython that the recorder uses: each looked for, each with a fall-back.

The library has one room for private names, `asgi_mpclean._cpython`. This is a second one, as the
recorder runs in the Python of other environments, where that room is not installed. The names are
the same in CPython 3.10 to 3.15; tests/test_trace_names.py takes out each of them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from multiprocessing import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


def _no_frame(_depth: int = 0) -> Any:
    return None


getframe: Callable[[int], Any] = getattr(sys, "_getframe", _no_frame)
"""The frame of a caller; none, and then no line of code is known, on a Python without frames."""


def makes_names(semaphore: Any) -> bool:
    """Tell whether the names of semaphores come from a function that can be replaced."""
    is_there = isinstance(semaphore.__dict__.get("_make_name"), staticmethod)
    return is_there and "semprefix" in getattr(process.current_process(), "_config", {})


def prefix() -> str:
    """Return what the names of semaphores begin with, "/mp" but for what a program has changed."""
    return process.current_process()._config["semprefix"]  # type: ignore[attr-defined,no-any-return]


def semaphore_name(lock: Any) -> str | None:
    """Return the name that a lock has in the file system; None if it has none, or tells none."""
    return getattr(getattr(lock, "_semlock", None), "name", None)


def thread_name() -> str:
    """Return the name of this thread, without making an object for one that has none."""
    thread = getattr(threading, "_active", {}).get(threading.get_ident())
    return thread.name if thread is not None else f"thread {threading.get_ident()}"


def children() -> set[Any]:
    """Return the child processes that multiprocessing knows here, without reaping them.

    The public way reaps those that have ended, which the program may be about to do itself.
    """
    known = getattr(process, "_children", None)
    return set(multiprocessing.active_children() if known is None else known)


def backlog(queue: Any) -> int:
    """Return how many items are in a queue's buffer, not yet in its pipe; 0 where none is told."""
    return len(getattr(queue, "_buffer", ()))


def unread(queue: Any) -> int:
    """Return how many items are in a queue.

    What cannot be counted there, all of a `SimpleQueue` and on macOS what is in the pipe, is 1.
    """
    uncounted = 0
    try:
        if hasattr(queue, "qsize"):
            try:
                return int(queue.qsize())
            except NotImplementedError:  # macOS
                uncounted = backlog(queue)
        return uncounted + (not queue.empty())
    except (OSError, ValueError):  # It was closed.
        return backlog(queue)


def is_block_there(name: str) -> bool:
    """Tell whether a block of shared memory has that name now, also where no folder shows them.

    True without the name, as on Windows: there nothing tells.
    """
    memory = sys.modules.get("multiprocessing.shared_memory")
    shm_open = getattr(getattr(memory, "_posixshmem", None), "shm_open", None)
    if shm_open is None:
        return True
    try:
        os.close(shm_open(f"/{name}", os.O_RDONLY, mode=0))
    except FileNotFoundError:
        return False
    except OSError:  # No descriptor is left, or it is somebody else's.
        pass
    return True


def feeds(queue: Any) -> bool:
    """Tell whether a queue has a feeder thread that the exit will wait for."""
    thread = getattr(queue, "_thread", None)
    cancelled = getattr(queue, "_joincancelled", False)
    return thread is not None and thread.is_alive() and not cancelled


def before_threads_are_joined(callback: Callable[[], object]) -> None:
    """Have a function called when the interpreter begins to wait for its threads.

    Without the name it is not: then no thread is said to keep the exit waiting.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        try:
            register(callback)
        except RuntimeError:  # The exit has begun.
            return


def named_semaphores(util: ModuleType) -> dict[str, Any]:
    """Return the named semaphores that multiprocessing would unlink at the exit, with their owners.

    Empty where the names are not there: then only what was traced is known.
    """
    found = {}
    for finalizer in list(getattr(util, "_finalizer_registry", {}).values()):
        callback = getattr(finalizer, "_callback", None)
        args = getattr(finalizer, "_args", ())
        if getattr(finalizer, "_pid", None) != os.getpid():  # Of the parent, before a fork.
            continue
        if getattr(callback, "__qualname__", "") == "SemLock._cleanup" and args:
            reference = getattr(finalizer, "_weakref", None)
            found[args[0]] = reference() if reference is not None else None
    return found


def clean_up_functions(resource_tracker: ModuleType) -> dict[str, Callable[[str], object]]:
    """Return the functions by which the resource tracker removes what leaked, to change in place.

    Empty without the name: then what is on disk is all that tells.
    """
    functions: dict[str, Callable[[str], object]] = getattr(resource_tracker, "_CLEANUP_FUNCS", {})
    return functions


def frame_of(ident: int | None) -> Any:
    """Return where a thread is, as its innermost frame; None where that cannot be told."""
    current = getattr(sys, "_current_frames", None)
    return current().get(ident) if current is not None else None
