"""What type checkers see of the public names, which are loaded by the first use: each its own.

mypy and pyright check this file; it is never run. A line marked as an error has to be one, or the
unused mark is an error itself.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any, NoReturn

from typing_extensions import assert_type

import asgi_mpclean
from asgi_mpclean import (
    CleanupReport,
    Leak,
    MPCleanLifespan,
    Process,
    Registry,
    ResourceReport,
    add_kind,
    attach,
    clean,
    execl,
    execle,
    execlp,
    execlpe,
    execv,
    execve,
    execvp,
    execvpe,
    guard_exec,
    leaks,
    mpclean_lifespan,
    register,
    restart,
    trace,
    work_off,
    worker_init,
)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Be an ASGI app."""


async def lifespan(_app: object) -> AsyncIterator[dict[str, int]]:
    """Be a lifespan."""
    yield {"answer": 42}


def on_report(report: CleanupReport) -> None:
    """Take a report."""
    assert_type(report.delivered, int)
    assert_type(report.seconds, float)
    assert_type(report.resources, list[ResourceReport])
    assert_type(report.resources[0].exitcode, int | None)
    assert_type(report.to_dict(), dict[str, Any])
    assert_type(report.to_json(), str)


class Ring:
    """Be a kind of resource of the app's own."""


def close(_ring: Ring, _seconds: float) -> None:
    """Close one."""


def lifespans() -> None:
    """Wrap an app, and make a lifespan."""
    registry = Registry()
    wrapped = MPCleanLifespan(
        app, registry=registry, timeout=3, signals=(15,), discover=False, on_report=on_report
    )
    assert_type(wrapped, MPCleanLifespan)
    MPCleanLifespan(app, time_out=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    MPCleanLifespan(app, timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mpclean_lifespan()
    mpclean_lifespan(lifespan, timeout=3, on_report=on_report)
    mpclean_lifespan(timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(attach(app, timeout=3), None)


def registering() -> None:
    """Register things, which keep their types."""
    context = multiprocessing.get_context("spawn")
    number = context.Value("i", 0)
    assert_type(register([1]), list[int])
    assert_type(Registry().register([1], on_item=print), list[int])
    register(number, on_items=print)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(clean(timeout=1, discover=True), CleanupReport)
    clean("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with Registry() as registry:
        assert_type(registry, Registry)
        assert_type(len(registry), int)
        assert_type(iter(registry), Iterator[Any])
        assert_type(registry.Process(target=print), Process)
    process = Process(target=print, ctx=context, stop=work_off(context.Queue()))
    assert_type(process, Process)
    assert_type(process.exitcode, int | None)
    add_kind(Ring, close)


def programs() -> Callable[..., NoReturn]:
    """Run another program, or this one again."""
    assert_type(guard_exec(), None)
    assert_type(worker_init(), None)
    assert_type(restart(via="spawn"), None)
    restart(via="fork")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    functions: list[Callable[..., NoReturn]] = [execl, execle, execlp, execlpe]
    functions += [execv, execve, execvp, execvpe]
    execv("python")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    return functions[0]


def tracing() -> None:
    """See what the process holds, and which lines made it."""
    with trace() as nothing:
        assert_type(nothing, None)
        found = leaks()
    assert_type(found, list[Leak])
    assert_type(found[0].kind, str)
    assert_type(found[0].site, str | None)
    assert_type(found[0].names, tuple[str, ...])
    assert_type(found[0].pid, int | None)
    assert_type(found[0].to_dict(), dict[str, Any])
    trace(timeout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def nothing_else() -> None:
    """Use a name that there is not."""
    asgi_mpclean.regsiter([1])  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
