"""The conversation of server and app, by each way into an app, on asyncio and trio.

Each case is written as the log of what the server and the app saw, in order, with the moment of the
clean-up in between.
"""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from driver import COMPLETE, Driver, nothing, run, well_behaved
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from asgi_mpclean import MPCleanLifespan, Registry, attach, mpclean_lifespan
from asgi_mpclean._registry.default import default_registry as DEFAULT  # noqa: N812

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


SPAWN = multiprocessing.get_context("spawn")
BACKENDS = ["asyncio", "trio"]
NOT_CALLABLE: Any = 42
NOTHING: Any = None


# Apps, by what they do --------------------------------------------------------------------------


def knows_no_lifespan(_driver: Driver) -> Any:
    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        assert scope["type"] == "http"

    return app


def returns_at_once(_driver: Driver) -> Any:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        return

    return app


def returns_after_startup(_driver: Driver) -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    return app


def startup_raises(_driver: Driver) -> Any:
    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        msg = "no database"
        raise OSError(msg)

    return app


def startup_fails(_driver: Driver) -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    return app


def startup_fails_and_raises(_driver: Driver) -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        msg = "no database"
        raise OSError(msg)

    return app


def shutdown_fails(_driver: Driver) -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "no database"})

    return app


def shutdown_raises(_driver: Driver) -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        msg = "no database"
        raise OSError(msg)

    return app


CONVERSATIONS = [
    (
        well_behaved,
        ["app startup", "startup.complete", "app shutdown", "cleaned", "shutdown.complete"],
    ),
    (knows_no_lifespan, COMPLETE),
    (returns_at_once, COMPLETE),
    (returns_after_startup, COMPLETE),
    (startup_raises, ["cleaned", "raised no database"]),
    (startup_fails, ["cleaned", "startup.failed"]),
    (startup_fails_and_raises, ["cleaned", "startup.failed", "raised no database"]),
    (shutdown_fails, ["startup.complete", "cleaned", "shutdown.failed"]),
    (shutdown_raises, ["startup.complete", "cleaned", "raised no database"]),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("app", "log"), CONVERSATIONS, ids=[app.__name__ for app, _ in CONVERSATIONS]
)
def test_the_conversation(app: Callable[[Driver], Any], log: list[str], backend: str) -> None:
    driver = Driver()
    assert run(driver, driver.wrap(app(driver)), backend) == log
    assert driver.state["mpclean"] is driver.registry


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("app", [well_behaved, knows_no_lifespan])
def test_cancelled_it_cleans_up_all_the_same(app: Callable[[Driver], Any], backend: str) -> None:
    driver = Driver()
    run(driver, driver.wrap(app(driver)), backend, shutdown=False)
    assert driver.log[-1] == "cleaned"


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_of_the_app_that_are_all_busy_do_not_hold_up_the_clean_up(backend: str) -> None:
    """As those of endpoints that wait in `queue.get()`: the clean-up is what ends their waiting."""
    cleaned = threading.Event()
    driver = Driver(on_report=lambda _: cleaned.set())
    in_time: list[bool] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def main() -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(driver.run, driver.wrap(app))
                in_time.append(await anyio.to_thread.run_sync(cleaned.wait, 10))

    anyio.run(main, backend=backend)
    assert in_time == [True]
    assert driver.log == ["startup.complete", "shutdown.complete"]


def test_cancelled_again_while_cleaning_it_still_finishes() -> None:
    import asyncio  # noqa: PLC0415 - only here a task is cancelled the native way

    driver, free = Driver(), threading.Event()
    mail = driver.registry.register(SPAWN.Queue(), on_item=lambda _: free.wait(5))
    mail.put(1)

    async def main() -> None:
        started, asked = asyncio.Event(), 0

        async def receive() -> dict[str, str]:
            nonlocal asked
            asked += 1
            if asked > 1:
                await asyncio.sleep(60)
            return {"type": "lifespan.startup"}

        async def send(_message: Any) -> None:
            started.set()

        app = driver.wrap(well_behaved(driver))
        task = asyncio.ensure_future(app({"type": "lifespan"}, receive, send))
        await started.wait()
        task.cancel()
        await asyncio.sleep(0.05)  # It is cleaning up now, in a thread.
        threading.Timer(0.2, free.set).start()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert driver.log[-1] == "cleaned"

    asyncio.run(main())
    assert len(driver.registry) == 0


# As lifespan= -----------------------------------------------------------------------------------


def user_lifespans(log: list[str]) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Each way to use mpclean_lifespan, given its options."""

    async def generator(_app: Any) -> AsyncIterator[dict[str, str]]:
        log.append("enter")
        yield {"db": "open"}
        log.append("exit")

    context = contextlib.asynccontextmanager(generator)
    return {
        "alone": lambda options: mpclean_lifespan(**options),
        "around a generator function": lambda options: mpclean_lifespan(generator, **options),
        "around a context manager": lambda options: mpclean_lifespan(context, **options),
        "decorator": lambda options: mpclean_lifespan(**options)(generator),
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("framework", [Starlette, FastAPI])
@pytest.mark.parametrize("way", list(user_lifespans([])))
def test_as_lifespan(way: str, framework: Any, backend: str) -> None:
    driver = Driver()
    lifespan = user_lifespans(driver.log)[way](driver.options)
    log = run(driver, framework(lifespan=lifespan), backend)
    users = ["enter", "exit"] if way != "alone" else []
    assert log == [*users[:1], "startup.complete", *users[1:], "cleaned", "shutdown.complete"]
    assert driver.state["mpclean"] is driver.registry
    assert driver.state.get("db") == (None if way == "alone" else "open")


def test_the_bare_decorator() -> None:
    @mpclean_lifespan
    async def lifespan(_app: Any) -> AsyncIterator[dict[str, int]]:
        """The user's own words."""
        yield {"answer": 42}

    assert lifespan.__doc__ == "The user's own words."
    with TestClient(Starlette(lifespan=lifespan)) as client:
        registry = client.app_state["mpclean"]
        assert client.app_state == {"answer": 42, "mpclean": registry}
        assert isinstance(registry, Registry)
        assert registry is not DEFAULT


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("where", ["enter", "exit"])
def test_a_lifespan_that_raises_is_cleaned_up_after(where: str, backend: str) -> None:
    driver = Driver()

    async def lifespan(_app: Any) -> AsyncIterator[None]:
        if where == "enter":
            msg = "no database"
            raise OSError(msg)
        yield
        msg = "no database"
        raise OSError(msg)

    log = run(driver, Starlette(lifespan=mpclean_lifespan(lifespan, **driver.options)), backend)
    stage = "startup" if where == "enter" else "shutdown"
    assert log[-3:] == ["cleaned", f"{stage}.failed", "raised no database"]


@pytest.mark.parametrize("how", ["wrapper", "middleware", "attach", "attach twice", "lifespan"])
def test_the_registry_is_in_the_requests_state(how: str) -> None:
    async def answer(request: Request) -> JSONResponse:
        registry = request.state.mpclean
        registry.register(SPAWN.SimpleQueue())
        return JSONResponse(len(registry))

    registry = Registry()
    routes = [Route("/", answer)]
    options: dict[str, Any] = {"registry": registry}
    app: Any = Starlette(
        routes=routes, lifespan=mpclean_lifespan(**options) if how == "lifespan" else None
    )
    if how == "wrapper":
        app = MPCleanLifespan(app, **options)
    elif how == "middleware":
        app.add_middleware(MPCleanLifespan, **options)
    elif how.startswith("attach"):
        for _ in range(1 + (how == "attach twice")):
            attach(app, **options)
        assert len(app.user_middleware) == 1
    with TestClient(app) as client:
        assert client.get("/").json() == 1
        assert len(registry) == 1
        if how == "attach":
            attach(app, **options)  # Started: adding a middleware would raise.
    assert len(registry) == 0


def test_an_unregistered_queue_survives_a_test_client() -> None:
    mail = SPAWN.Queue()
    with TestClient(MPCleanLifespan(Starlette())):
        pass
    mail.put(1)
    assert mail.get(timeout=10) == 1
    DEFAULT.register(mail)
    assert DEFAULT.clean().closed == 1


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_other_scopes_pass_through_untouched(kind: str) -> None:
    seen: list[tuple[Any, ...]] = []

    async def app(*args: Any) -> None:
        seen.append(args)

    wrapped = MPCleanLifespan(app)
    args: tuple[Any, ...] = ({"type": kind}, object(), object())

    async def main() -> None:
        await wrapped(*args)

    anyio.run(main)
    assert all(got is given for got, given in zip(seen[0], args, strict=True))
    assert args[0] == {"type": kind}


def test_servers_take_it_for_an_asgi_3_app() -> None:
    assert inspect.iscoroutinefunction(MPCleanLifespan(nothing).__call__)


# Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"timeout": 0}, ValueError, "timeout must be"),
        ({"timeout": float("nan")}, ValueError, "timeout must be"),
        ({"timeout": "5"}, ValueError, "timeout must be .* not '5'"),
        ({"signals": 15}, TypeError, "signals must be a collection"),
        ({"signals": "SIGTERM"}, TypeError, "signals must be a collection"),
        ({"signals": ("SIGTERM",)}, TypeError, "not 'SIGTERM'"),
        ({"signals": (True,)}, TypeError, "not True"),
        ({"signals": (signal.SIGKILL,)}, ValueError, "signals that can be handled"),
        ({"signals": (999,)}, ValueError, "not 999"),
        ({"on_report": 1}, TypeError, "on_report must be callable, not 1"),
        ({"on_report": nothing}, TypeError, "not the coroutine function"),
        ({"registry": {}}, TypeError, r"registry must be an asgi_mpclean.Registry, not \{\}"),
    ],
)
@pytest.mark.parametrize("way", ["wrapper", "lifespan", "attach"])
def test_bad_options(options: dict[str, Any], error: type[Exception], words: str, way: str) -> None:
    with pytest.raises(error, match=words):
        if way == "wrapper":
            MPCleanLifespan(nothing, **options)
        elif way == "attach":
            attach(Starlette(), **options)
        else:
            mpclean_lifespan(**options)


async def not_a_lifespan(_app: Any) -> None:
    """Is a coroutine function, without a yield."""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: MPCleanLifespan(NOT_CALLABLE),
            "app must be an ASGI app, which is callable, not 42",
        ),
        (lambda: MPCleanLifespan(NOTHING), "not None"),
        (lambda: mpclean_lifespan(NOT_CALLABLE), "lifespan must be an async generator function"),
        (lambda: mpclean_lifespan(not_a_lifespan), "lifespan must be an async generator"),  # type: ignore[arg-type]
        (lambda: attach(print), r"app must have add_middleware\(\)"),
    ],
)
def test_bad_apps(call: Callable[[], object], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


def test_the_wrapper_takes_its_options_by_name_only() -> None:
    with pytest.raises(TypeError):
        MPCleanLifespan(nothing, None)  # type: ignore[call-arg]
    assert sys.version_info >= (3, 10)
