"""What was registered ends with whom it belongs to: its lifespan, the process, or a block.

In one process, as test suites have it: clients and managers that run an app's lifespan, one after
the other, one in the other, and several beside each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import asgi_lifespan
import httpx
import pytest
from driver import SPAWN, over_default
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from asgi_mpclean import MPCleanLifespan, Registry, clean, mpclean_lifespan, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request

    Attach = Callable[..., Any]


@pytest.fixture(autouse=True)
def the_process_ends() -> Iterator[None]:
    """What a test has registered with the process is cleaned up after it, as at the exit."""
    yield
    clean()


class Mail:
    """A queue with an item in it, and where that is delivered when the queue is ended."""

    def __init__(self, register: Callable[..., Any] = register) -> None:
        self.got: list[str] = []
        self.queue = register(SPAWN.Queue(), on_item=self.got.append)
        self.queue.put("first")

    @property
    def has_ended(self) -> bool:
        return self.got == ["first"]

    def is_alive(self) -> bool:
        """Put something and take everything, as its users do."""
        self.queue.put("second")
        items = [self.queue.get(timeout=5) for _ in range(2)]
        self.queue.put("first")
        return items == ["first", "second"] and not self.got


class App:
    """An app that registers things at each of its moments; `attach` gives it the library."""

    def __init__(self, attach: Attach, **options: Any) -> None:
        self.mail: dict[str, Mail] = {}
        self.told: list[str] = []
        routes = [Route(f"/{name}", end) for name, end in self.endpoints().items()]
        self.app = attach(routes, self.lifespan, **options)

    def endpoints(self) -> dict[str, Any]:
        async def endpoint(_request: Request) -> PlainTextResponse:
            self.mail["endpoint"] = Mail()
            return PlainTextResponse("ok")

        def sync_endpoint(_request: Request) -> PlainTextResponse:
            self.mail["sync endpoint"] = Mail()
            return PlainTextResponse("ok")

        async def threadpool(_request: Request) -> PlainTextResponse:
            self.mail["thread of an endpoint"] = await run_in_threadpool(Mail)
            return PlainTextResponse("ok")

        async def state(request: Request) -> PlainTextResponse:
            self.mail["state"] = Mail(request.state.mpclean.register)
            return PlainTextResponse("ok")

        return {"async": endpoint, "sync": sync_endpoint, "thread": threadpool, "state": state}

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[dict[str, str]]:
        self.mail["start-up"] = Mail()
        yield {"own": "state"}
        # Its own shutdown finds everything as it was.
        self.told += [name for name, mail in self.mail.items() if not mail.is_alive()]


def as_wrapper(routes: Any, lifespan: Any, **options: Any) -> Any:
    return MPCleanLifespan(Starlette(routes=routes, lifespan=lifespan), **options)


def as_lifespan(routes: Any, lifespan: Any, **options: Any) -> Any:
    return Starlette(routes=routes, lifespan=mpclean_lifespan(lifespan, **options))


def as_middleware(routes: Any, lifespan: Any, **options: Any) -> Any:
    app = Starlette(routes=routes, lifespan=lifespan)
    app.add_middleware(MPCleanLifespan, **options)
    return app


def as_both(routes: Any, lifespan: Any, **options: Any) -> Any:
    return MPCleanLifespan(as_lifespan(routes, lifespan, **options), **options)


def as_two_wrappers(routes: Any, lifespan: Any, **options: Any) -> Any:
    return MPCleanLifespan(as_wrapper(routes, lifespan, **options), **options)


ATTACH = {
    attach.__name__: attach
    for attach in (as_wrapper, as_lifespan, as_middleware, as_both, as_two_wrappers)
}
attached = pytest.mark.parametrize("attach", ATTACH.values(), ids=ATTACH)
attached_once = pytest.mark.parametrize("attach", [as_wrapper, as_lifespan])
MOMENTS = ("async", "sync", "thread", "state")


@contextlib.contextmanager
def client(app: Any) -> Iterator[Callable[[str], int]]:
    """Run the lifespan and requests in a thread, as Starlette's client does."""
    with TestClient(app) as test_client:
        yield lambda path: test_client.get(f"/{path}").status_code


async def _enter(stack: contextlib.AsyncExitStack, app: Any) -> Any:
    return await stack.enter_async_context(asgi_lifespan.LifespanManager(app))


@contextlib.contextmanager
def manager(app: Any) -> Iterator[Callable[[str], int]]:
    """Run them in the main thread, as asgi-lifespan and httpx do in an asynchronous test."""
    with contextlib.ExitStack() as stack:
        runner = asyncio.new_event_loop()
        stack.callback(runner.close)
        run = runner.run_until_complete
        lifespan = contextlib.AsyncExitStack()
        managed = run(_enter(lifespan, app))
        stack.callback(lambda: run(lifespan.aclose()))
        transport = httpx.ASGITransport(managed.app)

        async def ask(path: str) -> int:
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
                return (await http.get(f"/{path}")).status_code

        yield lambda path: run(ask(path))


RUN = {"TestClient": client, "LifespanManager": manager}
run_by = pytest.mark.parametrize("served", RUN.values(), ids=RUN)


@run_by
@attached
def test_what_belongs_to_a_lifespan_ends_with_it_and_nothing_else(
    served: Any, attach: Attach
) -> None:
    outside, unregistered, own = Mail(), SPAWN.Queue(), Registry()
    unregistered.put("mine")
    in_own = Mail(own.register)
    app = App(attach)
    with served(app.app) as ask:
        assert {ask(path) for path in MOMENTS} == {200}
        in_block = Registry()
        of_block = Mail(in_block.register)
    assert app.told == []
    assert {name: mail.got for name, mail in app.mail.items()} == {
        name: ["first"] for name in app.mail
    }
    assert len(app.mail) == 1 + len(MOMENTS)
    assert [mail.is_alive() for mail in (outside, in_own, of_block)] == [True] * 3
    assert unregistered.get(timeout=5) == "mine"
    unregistered.close()
    unregistered.join_thread()  # Its feeder holds a semaphore.
    with own, in_block:
        pass
    assert in_own.has_ended
    assert of_block.has_ended


@run_by
@attached_once
def test_a_suite_uses_what_its_modules_have_registered(served: Any, attach: Attach) -> None:
    """Apps, one after the other, that share what was made when they were imported."""
    shared, lock = Mail(), register(SPAWN.Lock())
    for _ in range(3):
        app = App(attach)
        with served(app.app) as ask:
            assert ask("async") == 200
            assert shared.is_alive()
            with lock:
                pass
        assert [mail.has_ended for mail in app.mail.values()] == [True] * 2
    assert shared.is_alive()
    assert lock.acquire(timeout=5)
    lock.release()


@run_by
@attached_once
@pytest.mark.parametrize("first_to_end", ["first", "second"])
def test_lifespans_that_overlap_end_their_own(
    served: Any, attach: Attach, first_to_end: str
) -> None:
    apps = {name: App(attach) for name in ("first", "second")}
    stacks = {}
    for name, app in apps.items():
        stacks[name] = contextlib.ExitStack()
        ask = stacks[name].enter_context(served(app.app))
        assert ask("state") == 200
    later = next(name for name in apps if name != first_to_end)
    stacks[first_to_end].close()
    assert all(mail.has_ended for mail in apps[first_to_end].mail.values())
    assert [mail.is_alive() for mail in apps[later].mail.values()] == [True] * 2
    stacks[later].close()
    assert all(mail.has_ended for mail in apps[later].mail.values())
    assert apps["first"].told == apps["second"].told == []


@pytest.mark.parametrize("inner", [as_wrapper, as_lifespan])
@pytest.mark.parametrize("outer", [as_wrapper, as_lifespan])
@run_by
def test_a_sub_app_whose_lifespan_the_app_runs(served: Any, outer: Attach, inner: Attach) -> None:
    sub = App(inner)
    of_outer: list[Mail] = []

    @contextlib.asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        of_outer.append(Mail())
        async with asgi_lifespan.LifespanManager(sub.app):
            yield
        assert sub.mail["start-up"].has_ended
        assert of_outer[0].is_alive()

    with served(outer([Mount("/sub", sub.app)], lifespan)) as ask:
        assert ask("sub/async") in {200, 404}
    assert of_outer[0].has_ended
    assert sub.told == []


@attached_once
def test_requests_without_a_lifespan(attach: Attach) -> None:
    """httpx alone sends no lifespan events: what an endpoint registers is the process's."""
    app = App(attach)

    async def ask() -> None:
        transport = httpx.ASGITransport(app.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
            for path in ("async", "sync"):
                assert (await http.get(f"/{path}")).status_code == 200

    asyncio.run(ask())
    with client(App(attach).app):
        pass
    assert [mail.is_alive() for mail in app.mail.values()] == [True] * 2


@attached_once
def test_what_the_main_thread_registers_beside_a_lifespan_is_its_own(attach: Attach) -> None:
    with client(App(attach).app):
        mail = Mail()
    assert mail.is_alive()


@attached_once
def test_a_registry_of_its_own_goes_with_the_lifespan_it_was_given_to(attach: Attach) -> None:
    registry, other = Registry(), Mail()
    mail = Mail(registry.register)
    with client(App(attach, registry=registry).app):
        assert mail.is_alive()
    assert mail.has_ended
    assert other.is_alive()


@attached_once
def test_a_failing_startup_ends_what_it_has_registered(attach: Attach) -> None:
    outside, inside = Mail(), []

    @contextlib.asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        inside.append(Mail())
        if inside:
            msg = "no database"
            raise OSError(msg)
        yield

    with pytest.raises(OSError, match="no database"), client(attach([], lifespan)):
        pass
    assert inside[0].has_ended
    assert outside.is_alive()


LIFESPANS = 1500


@attached_once
@pytest.mark.parametrize("served", [manager])
@pytest.mark.sampled(2)
def test_a_long_session(served: Any, attach: Attach) -> None:
    """1500 lifespans in one process, each of which registers something."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    outside, own = Mail(), Registry()
    app = App(attach)
    with served(app.app):
        pass
    gc.collect()
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    asked = asyncio.new_event_loop()
    for _ in range(LIFESPANS):
        asked.run_until_complete(_start_and_stop(app.app))
        Registry().register(SPAWN.Lock())
    asked.close()
    gc.collect()
    own.clean()
    assert outside.is_alive()
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 5
    assert threading.active_count() <= threads + 2
    outside.queue.get(timeout=5)
    with own:
        own.register(outside.queue)
    found = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert [over_default(each) for each in found] == handlers


async def _start_and_stop(app: Any) -> None:
    async with asgi_lifespan.LifespanManager(app):
        pass
