"""The `lifespan=` callable for FastAPI and Starlette, alone or around the user's own lifespan."""

from __future__ import annotations

import contextlib
import functools

from asgi_mpclean._registry.options import DEFAULT_SIGNALS

from .options import Options

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import Any, Protocol, TypeVar, overload

    from asgi_mpclean._registry.registry import Registry
    from asgi_mpclean._report import CleanupReport

    App = TypeVar("App")
    State = AbstractAsyncContextManager[Mapping[str, Any]]
    LifespanContext = Callable[[Any], AbstractAsyncContextManager[Any]]
    OwnLifespan = Callable[[App], AsyncIterator[Any] | AbstractAsyncContextManager[Any]]

    class LifespanOrDecorator(Protocol):
        """What `mpclean_lifespan()` returns: a lifespan of any app, and a decorator."""

        @overload
        def __call__(self, app: OwnLifespan[App], /) -> Callable[[App], State]: ...
        @overload
        def __call__(self, app: Any, /) -> State: ...


class Lifespan:
    """A Starlette-style lifespan: called with the app, it returns an async context manager.

    Args:
        options: How to clean up.
        lifespan: The user's own, if there is one.
    """

    def __init__(self, options: Options, lifespan: LifespanContext | None) -> None:
        self._options = options
        self._lifespan = lifespan
        if lifespan is not None:
            functools.update_wrapper(self, lifespan, updated=())

    def __call__(self, app: Any) -> Any:
        """Return the context manager of `app`'s lifespan; given a function, decorate it."""
        import inspect  # noqa: PLC0415 - a worker that only imports the app is spared it

        if self._lifespan is None and inspect.isfunction(app):
            return Lifespan(self._options, _as_lifespan(app))
        return self._run(app)

    @contextlib.asynccontextmanager
    async def _run(self, app: Any) -> AsyncIterator[Mapping[str, Any]]:
        from .session import Session  # noqa: PLC0415 - loads what a lifespan needs

        session = Session(self._options)
        ours, yielded = {"mpclean": session.registry}, False
        try:
            async with _nothing(app) if self._lifespan is None else self._lifespan(app) as state:
                if not session.told_to_stop:
                    session.has_started()
                    yielded = True
                    yield {**ours, **(state or {})}
                    session.server_has_heard()
                session.is_stopping()
            if not yielded:  # Told to stop before it has started: see `conversation`.
                await session.end()
                session.give_early_stops()
                yield {**ours, **(state or {})}
                session.server_has_heard()
        except GeneratorExit:  # Nothing can be awaited: the event loop is no more.
            session.end_at_once()
            raise
        finally:
            await session.end()


@contextlib.asynccontextmanager
async def _nothing(_app: Any) -> AsyncIterator[None]:
    yield None


def _as_lifespan(lifespan: Any) -> LifespanContext:
    import inspect  # noqa: PLC0415 - a worker that only imports the app is spared it

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


if TYPE_CHECKING:

    @overload
    def mpclean_lifespan(
        lifespan: OwnLifespan[App],
        *,
        registry: Registry | None = None,
        timeout: float = 5.0,
        signals: Iterable[int] = DEFAULT_SIGNALS,
        discover: bool = True,
        on_report: Callable[[CleanupReport], object] | None = None,
    ) -> Callable[[App], State]: ...
    @overload
    def mpclean_lifespan(
        lifespan: None = None,
        *,
        registry: Registry | None = None,
        timeout: float = 5.0,
        signals: Iterable[int] = DEFAULT_SIGNALS,
        discover: bool = True,
        on_report: Callable[[CleanupReport], object] | None = None,
    ) -> LifespanOrDecorator: ...


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
    options = Options(registry, timeout, signals, discover, on_report)
    options.set_policy(serving=False)
    return Lifespan(options, None if lifespan is None else _as_lifespan(lifespan))
