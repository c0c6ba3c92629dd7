"""The owner of a resource: the lifespan in whose course it is registered, or the process.

A lifespan's start-up runs in a context of its own, and so does each request of a wrapped app. With
`lifespan=` the requests do not pass through this library: then the scope that the endpoint was
called with tells, or the event loop that its thread works for. A resource whose owner is not
certain belongs to the process, which ends it later rather than too early.
"""

from __future__ import annotations

import contextvars
import sys
import threading

from asgi_mpclean._shutdown.state import STATE

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .registry import Registry

# The registry of the lifespan in whose course the code of this context runs.
CURRENT: contextvars.ContextVar[Registry | None] = contextvars.ContextVar(
    "asgi_mpclean.registry", default=None
)


def find_owner() -> Registry | None:
    """Return the registry of the open lifespan in whose course this is called; None outside."""
    sessions = STATE.sessions
    if not sessions:
        return None
    current = CURRENT.get()
    if current is None:
        current = _of_request()
    if current is None:
        return _of_worker_thread()
    return current if any(session.registry is current for session in sessions) else None


def registry_of(scope: Mapping[str, Any]) -> Registry | None:
    """Return the registry that a lifespan has put into the state of a scope."""
    state = scope.get("state")
    found: Registry | None = state.get("mpclean") if isinstance(state, dict) else None
    return found


def _of_request() -> Registry | None:
    """Return the registry in the scope that a caller was called with, as endpoints are."""
    frame = sys._getframe(1)  # noqa: SLF001 - `inspect` would be imported for it
    while frame is not None:
        if "scope" in frame.f_code.co_varnames:
            scope = frame.f_locals.get("scope")
            if isinstance(scope, dict) and (found := registry_of(scope)) is not None:
                return found
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return None


def _of_worker_thread() -> Registry | None:
    """Return the registry of the only lifespan in the event loop that this thread works for.

    anyio runs synchronous endpoints in threads that know their loop.
    """
    loop = getattr(threading.current_thread(), "loop", None)
    if loop is None:
        return None
    found = [session.registry for session in STATE.sessions if session.loop is loop]
    return found[0] if len(found) == 1 else None
