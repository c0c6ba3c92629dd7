"""The wrapper: an ASGI app around another, which cleans up when that has shut down."""

from __future__ import annotations

import contextlib

from asgi_mpclean._registry.options import DEFAULT_SIGNALS
from asgi_mpclean._registry.owner import CURRENT, registry_of
from asgi_mpclean._registry.registry import Registry
from asgi_mpclean._shutdown import state
from asgi_mpclean._shutdown.state import STATE

from .options import Options

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from asgi_mpclean._report import CleanupReport

    from .types import ASGIApp, Receive, Scope, Send


class MPCleanLifespan:
    """An ASGI app that cleans up after another when that has shut down.

    Http and websocket scopes pass through untouched. If the app knows no lifespan, the wrapper
    answers the server in its place.
    What is registered in the course of the lifespan, at its start-up and in its requests, ends with
    it; its registry is `request.state.mpclean`, where the server supports lifespan state.

    Args:
        app: The ASGI app.
        registry: Where the lifespan registers, and what it cleans up; by default its own.
        timeout: Seconds that the clean-up may take, from the first trigger to its end.
        signals: The signals to chain handlers to.
        discover: Clean up also what was not registered, when the process is going away.
        on_report: Called with the `CleanupReport`; it is waited for one second at most.

    Raises:
        TypeError: If `app` or `on_report` is not callable, or another option of a wrong type.
        ValueError: If `timeout` is not a finite number above zero, or a signal cannot be handled.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        registry: Registry | None = None,
        timeout: float = 5.0,
        signals: Iterable[int] = DEFAULT_SIGNALS,
        discover: bool = True,
        on_report: Callable[[CleanupReport], object] | None = None,
    ) -> None:
        if not callable(app):
            msg = f"app must be an ASGI app, which is callable, not {app!r}"
            raise TypeError(msg)
        self.app = app
        self._options = Options(registry, timeout, signals, discover, on_report)
        self._options.set_policy(serving=False)
        self._registry: Registry | None = None  # of the latest lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app."""
        if not STATE.sessions and scope["type"] != "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._run_lifespan(scope, receive, send)
        else:
            await self._run_in_course(scope, receive, send)

    async def _run_in_course(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app in the course of the lifespan that has given its state to the scope."""
        registry = registry_of(scope) or self._registry
        token = CURRENT.set(registry) if registry is not None else None
        try:
            await self.app(scope, receive, send)
        finally:
            if token is not None:
                with contextlib.suppress(ValueError):  # Closed in another context.
                    CURRENT.reset(token)

    async def _run_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        if state.DISABLED:  # The app may register what it makes all the same.
            scope.setdefault("state", {})["mpclean"] = self._options.registry or Registry()
            await self.app(scope, receive, send)
            return
        from .conversation import Conversation  # noqa: PLC0415 - loads what a lifespan needs
        from .session import Session  # noqa: PLC0415 - the same

        session = Session(self._options)
        scope.setdefault("state", {})["mpclean"] = self._registry = session.registry
        await Conversation(self.app, scope, receive, send, session).run()


def attach(app: Any, **options: Any) -> None:
    """Add `MPCleanLifespan` to an app's middleware, unless it is there or the app has started.

    Some frameworks execute the user's file once more for each client, as NiceGUI's script mode
    does; this may be called each time.

    Args:
        app: A Starlette, FastAPI or NiceGUI app.
        options: Those of `MPCleanLifespan`.

    Raises:
        TypeError: If the app takes no middleware; also as `MPCleanLifespan` raises it.
        ValueError: As `MPCleanLifespan` raises it.
    """
    if not hasattr(app, "add_middleware"):
        msg = f"app must have add_middleware(), as Starlette's have; {app!r} has not"
        raise TypeError(msg)
    MPCleanLifespan(app, **options)  # Bad options are reported here, not at start-up.
    present = any(
        getattr(middleware, "cls", None) is MPCleanLifespan
        for middleware in getattr(app, "user_middleware", ())
    )
    if not present and getattr(app, "middleware_stack", None) is None:
        app.add_middleware(MPCleanLifespan, **options)
