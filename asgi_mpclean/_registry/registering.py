"""Registering a resource: what it is, which options fit it, what it is called."""

from __future__ import annotations

import inspect
import linecache
import os
import re
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from asgi_mpclean._cpython.semaphores import semaphore_names_of
from asgi_mpclean._resources.base import Entry
from asgi_mpclean._resources.kinds import KINDS, kind_of
from asgi_mpclean._resources.queue import QUEUE
from asgi_mpclean._resources.worker import PROCESS
from asgi_mpclean._shutdown import state
from asgi_mpclean._shutdown.plan import Plan
from asgi_mpclean._shutdown.request import Request
from asgi_mpclean._shutdown.signals import guard
from asgi_mpclean._shutdown.state import STATE
from asgi_mpclean._shutdown.triggers import clean_at_exit, clean_at_signal, clean_up

from .options import check_callback, check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from asgi_mpclean._report import CleanupReport
    from asgi_mpclean._resources.base import Kind
    from asgi_mpclean._shutdown.state import Registered

    from .entries import Record

    class Keeper(Registered, Protocol):
        """What registering asks of a registry."""

        @property
        def is_shutting_down(self) -> bool:
            """Whether a clean-up is under way."""

        def find(self, resource: object) -> Record | None:
            """Return what is known of a resource."""

        def keep(self, entry: Entry, note: object, known: Record | None) -> bool:
            """Keep a new entry, or a changed one; tells whether it is not too late."""


# The time (seconds) that closing a resource may take which was registered too late.
DISCARD_SECONDS = 1.0
# The folder of this package, by which frames of the library are told from the user's.
PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
# `jobs = register(...)`, or `register(jobs)`.
ASSIGNED = r"^\s*([\w.]+)\s*(?::[^=]*)?=[^=]"
REGISTERED = r"register\(\s*([A-Za-z_][\w.]*)\s*[,)]"


def register(
    registry: Keeper,
    resource: Any,
    *,
    name: str | None,
    on_item: Callable[[Any], object] | None,
    stop: Callable[[], object] | None,
) -> None:
    """Do what `Registry.register` does."""
    kind = kind_of(resource)
    _check_options(kind, name=name, on_item=on_item, stop=stop)
    if state.DISABLED:
        return
    if registry.is_shutting_down:
        _refuse(resource, kind)
    record = registry.find(resource)
    if record is not None:
        known = record.entry
    else:
        # Noted now, as the end is where time counts.
        semaphores = semaphore_names_of(resource) if kind is QUEUE else None
        known = Entry(resource, kind, "", semaphores=semaphores)
    entry = Entry(  # A new object, as a clean-up may already be using the old one.
        resource,
        kind,
        name or known.name or _default_name(resource, kind),
        on_item=known.on_item if on_item is None else on_item,
        stop=known.stop if stop is None else stop,
        semaphores=known.semaphores,
    )
    if not registry.keep(entry, kind.note(resource), record):
        _refuse(resource, kind)
    clean_at_exit()
    guard.guard(clean_at_signal)
    if registry not in STATE.guarded:
        STATE.guarded.add(registry)  # It may be dropped with all that is in it.
        weakref.finalize(registry, guard.leave).atexit = False


def clean(registries: tuple[Registered, ...], timeout: float, *, discover: bool) -> CleanupReport:
    """Do what `Registry.clean` does."""
    check_timeout(timeout)
    return clean_up(Request.by_call(registries, timeout, discover=discover))


def _check_options(kind: Kind, *, name: object, on_item: object, stop: object) -> None:
    if name is not None and not isinstance(name, str):
        msg = f"name must be a string, not {name!r}"
        raise TypeError(msg)
    for option, value in (("on_item", on_item), ("stop", stop)):
        check_callback(option, value)
        if value is not None and option not in kind.options:
            fitting = ", ".join(other.name for other in KINDS if option in other.options)
            msg = f"{option}= is for these kinds: {fitting}; what is registered is a {kind.name}"
            raise ValueError(msg)


def _default_name(resource: Any, kind: Kind) -> str:
    """Return a process's own name, or the variable and the place in the line that registers."""
    if kind is PROCESS:
        return str(resource.name)
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return kind.name
    path, line = frame.f_code.co_filename, frame.f_lineno
    place = f"{os.path.basename(path)}:{line}"
    source = linecache.getline(path, line)
    found = re.search(ASSIGNED, source) or re.search(REGISTERED, source)
    alone = source.count("register(") == 1
    return f"{found[1]} ({place})" if found and alone else place


def _refuse(resource: Any, kind: Kind) -> NoReturn:
    """Close a resource that came too late to be registered."""
    if kind is not PROCESS:
        Plan([Entry(resource, kind, "")], Request("register()", DISCARD_SECONDS)).run()
    msg = f"cannot register {resource!r} while a clean-up is under way; it was closed"
    raise RuntimeError(msg)
