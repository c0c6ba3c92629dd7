"""The two ways into an app: a wrapper around it, and a `lifespan=` callable.

Both do the same: watch the signals from start-up on, and clean up when the app has shut down,
before the server is told so. Nothing here knows multiprocessing.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import anyio

from . import _options, _shutdown
from ._options import DEFAULT_SIGNALS, Options
from ._registry import Registry, default_registry
from ._session import Session, set_policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from ._report import CleanupReport

logger = logging.getLogger("asgi_mpclean")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]  # Litestar and Quart have narrower types.
LifespanContext = Callable[[Any], AbstractAsyncContextManager[Any]]


def _checked_options(
    registry: Registry | None,
    timeout: float,
    signals: Iterable[int],
    discover: bool,  # noqa: FBT001 - internal, called with everything
    on_report: Callable[[CleanupReport], object] | None,
) -> Options:
    if registry is not None and not isinstance(registry, Registry):
        msg = f"registry must be an asgi_mpclean.Registry, not {registry!r}"
        raise TypeError(msg)
    _options.check_callback("on_report", on_report)
    options = Options(
        registry if registry is not None else default_registry,
        _options.check_timeout(timeout),
        _options.check_signals(signals),
        bool(discover),
        on_report,
    )
    set_policy(options, serving=False)
    return options


class MPCleanLifespan:
    """An ASGI app that cleans up after another when that has shut down.

    Http and websocket scopes pass through untouched. An app that knows no lifespan is answered for.
    The registry is `request.state.mpclean`, where the server supports lifespan state.

    Args:
        app: The ASGI app.
        registry: What to clean up; by default the default registry, that of `register`.
        timeout: Seconds that the clean-up may take, from the first trigger to its end.
        signals: The signals to chain handlers to.
        discover: Clean up also what was not registered, when the process is going away.
        on_report: Called with the `CleanupReport`; given a second.

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
        self._options = _checked_options(registry, timeout, signals, discover, on_report)

    if sys.version_info >= (3, 12):
        # Returning the app's own coroutine costs less per request than awaiting it. Unmarked, it
        # would be taken for an ASGI 2 app.
        @inspect.markcoroutinefunction
        def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            """Run the app."""
            if scope["type"] == "lifespan" and not _shutdown.DISABLED:
                return self._lifespan(scope, receive, send)
            return self.app(scope, receive, send)
    else:  # pragma: no cover - up to Python 3.11

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            """Run the app."""
            if scope["type"] == "lifespan" and not _shutdown.DISABLED:
                await self._lifespan(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        scope.setdefault("state", {})["mpclean"] = self._options.registry
        return _Conversation(self.app, scope, receive, send, Session(self._options)).run()


class _Conversation:
    """What a server and an app say to each other during a lifespan, with us in between."""

    def __init__(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, session: Session
    ) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._session = session
        self._asked: set[str] = set()  # by the server: startup, shutdown
        self._answered: set[str] = set()  # to the server: the same
        self._app_received = False
        self._stop_app_early = False

    async def run(self) -> None:
        """Let the app have the conversation; then clean up and say what it left unsaid."""
        try:
            if await self._app_ends_well():
                await self._answer_for_app()
        finally:
            await self._session.end()

    async def _app_ends_well(self) -> bool:
        """Run the app; tells whether there may be something left to be said."""
        try:
            await self._app(self._scope, self._receive_for_app, self._send_from_app)
        except Exception:
            if self._app_received:
                raise
            logger.debug("the app knows no lifespan", exc_info=True)
        return "failed" not in self._answered

    async def _answer_for_app(self) -> None:
        for stage in ("startup", "shutdown"):
            if stage not in self._asked:
                await self._listen()
            if stage == "shutdown":
                self._session.is_stopping()
                await self._session.end()
            if stage not in self._answered:
                await self._say({"type": f"lifespan.{stage}.complete"})

    async def _receive_for_app(self) -> Message:
        self._app_received = True
        message: Message = {"type": "lifespan.shutdown"}
        if not self._stop_app_early:
            message = await self._listen()
        if _stage(message) == "shutdown":
            # Or the app would be ended twice.
            while _shutdown.is_ended_by_thread():  # noqa: ASYNC110 - it ends with the process
                await anyio.sleep(_shutdown.LOOK)
            self._session.is_stopping()
        return message

    async def _send_from_app(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and self._session.told_to_stop:
            # Some servers, told to stop before they have started, skip the shutdown: the app gets
            # its own now, and the server its answers when all is clean.
            self._stop_app_early = True
            return
        if kind == "lifespan.startup.complete":
            self._session.has_started()
        if kind in {"lifespan.startup.failed", "lifespan.shutdown.failed"}:
            self._answered.add("failed")
        if kind != "lifespan.startup.complete":
            await self._session.end()
        if self._stop_app_early and "startup" not in self._answered:
            await self._say({"type": "lifespan.startup.complete"})
            if kind == "lifespan.shutdown.complete":
                return
        await self._say(message)

    async def _listen(self) -> Message:
        message = await self._receive()
        self._asked.add(_stage(message))
        return message

    async def _say(self, message: Message) -> None:
        self._answered.add(_stage(message))
        await self._send(message)


def _stage(message: Message) -> str:
    return str(message["type"]).split(".")[1]


class _Lifespan:
    """A Starlette-style lifespan: called with the app, it returns an async context manager."""

    def __init__(self, options: Options, lifespan: LifespanContext | None) -> None:
        self._options = options
        self._lifespan = lifespan
        if lifespan is not None:
            functools.update_wrapper(self, lifespan, updated=())

    def __call__(self, app: Any) -> Any:
        """Return the context manager of `app`'s lifespan; given a function, decorate it."""
        if self._lifespan is None and inspect.isfunction(app):
            return _Lifespan(self._options, _as_lifespan(app))
        return self._run(app)

    @contextlib.asynccontextmanager
    async def _run(self, app: Any) -> AsyncIterator[Mapping[str, Any]]:
        ours = {"mpclean": self._options.registry}
        session = Session(self._options)
        try:
            async with _nothing(app) if self._lifespan is None else self._lifespan(app) as state:
                if not session.told_to_stop:
                    session.has_started()
                    yield {**ours, **(state or {})}
                    session.is_stopping()
                    return
                session.is_stopping()
            # Told to stop before it has started: see _Conversation.
            await session.end()
            yield {**ours, **(state or {})}
        finally:
            await session.end()


@contextlib.asynccontextmanager
async def _nothing(_app: Any) -> AsyncIterator[None]:
    yield None


def _as_lifespan(lifespan: Any) -> LifespanContext:
    if not callable(lifespan) or inspect.iscoroutinefunction(lifespan):
        msg = (
            "lifespan must be an async generator function, or a callable that returns an async "
            f"context manager, not {lifespan!r}"
        )
        raise TypeError(msg)
    if inspect.isasyncgenfunction(lifespan):
        return contextlib.asynccontextmanager(lifespan)
    context: LifespanContext = lifespan
    return context


def mpclean_lifespan(
    lifespan: Callable[[Any], Any] | None = None,
    *,
    registry: Registry | None = None,
    timeout: float = 5.0,
    signals: Iterable[int] = DEFAULT_SIGNALS,
    discover: bool = True,
    on_report: Callable[[CleanupReport], object] | None = None,
) -> Callable[[Any], Any]:
    """Make a `lifespan=` for FastAPI or Starlette that cleans up when the app has shut down.

    Alone, around a lifespan of your own, or as its decorator, with options or without. The state
    that yours yields is passed on, and the registry with it, as `request.state.mpclean`.

    Args:
        lifespan: Yours: an async generator function, decorated with `asynccontextmanager` or not.
        registry: See `MPCleanLifespan`.
        timeout: See `MPCleanLifespan`; seconds.
        signals: See `MPCleanLifespan`.
        discover: See `MPCleanLifespan`.
        on_report: See `MPCleanLifespan`.

    Returns:
        A lifespan.

    Raises:
        TypeError: If `lifespan` or an option is of a wrong type.
        ValueError: If `timeout` or a signal cannot be used.
    """
    options = _checked_options(registry, timeout, signals, discover, on_report)
    return _Lifespan(options, None if lifespan is None else _as_lifespan(lifespan))


def attach(app: Any, **options: Any) -> None:
    """Add `MPCleanLifespan` to an app's middleware, unless it is there or the app has started.

    For NiceGUI, whose script mode executes the file once more for each client.

    Args:
        app: A Starlette, FastAPI or NiceGUI app.
        options: Those of `MPCleanLifespan`.

    Raises:
        TypeError: If the app takes no middleware, or as `MPCleanLifespan`.
        ValueError: As `MPCleanLifespan`.
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
