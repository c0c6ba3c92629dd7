"""What type checkers see of the public names, which are loaded by the first use: each its own.

mypy and pyright check this file; it is never run. A line marked as an error has to be one, or the
unused mark is an error itself.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NoReturn, Protocol, TypeVar

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

T = TypeVar("T")
State = AbstractAsyncContextManager[Mapping[str, Any]]
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
    mpclean_lifespan(timeout="3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
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


class App:
    """Be an app of a framework's own class."""


async def lifespan_of_app(_app: App) -> AsyncIterator[None]:
    """Be a lifespan of that class."""
    yield


@mpclean_lifespan
async def decorated(_app: App) -> AsyncIterator[None]:
    """Be one with the clean-up."""
    yield


@mpclean_lifespan(timeout=3)
async def decorated_with_options(_app: App) -> AsyncIterator[None]:
    """Be one with the clean-up and an option."""
    yield


def lifespans_keep_the_type_of_their_app() -> None:
    """Compose and decorate; what comes of it takes the app that the lifespan takes."""
    assert_type(decorated, Callable[[App], State])
    assert_type(decorated_with_options, Callable[[App], State])
    assert_type(mpclean_lifespan(lifespan_of_app), Callable[[App], State])
    assert_type(mpclean_lifespan()(App()), State)
    decorated(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# Each public name can be called in this way. A parameter that is renamed, or no longer optional, is
# an error here.


class Register(Protocol):
    """Be `register`, of the default registry and of any other."""

    def __call__(
        self,
        resource: T,
        *,
        name: str | None = None,
        on_item: Callable[[Any], object] | None = None,
        stop: Callable[[], object] | None = None,
    ) -> T:
        """Register."""
        ...


class Clean(Protocol):
    """Be `clean`, of the default registry."""

    def __call__(self, timeout: float = 5.0, *, discover: bool = False) -> CleanupReport:
        """Clean."""
        ...


class Wrap(Protocol):
    """Be `MPCleanLifespan`."""

    def __call__(
        self,
        app: Any,
        *,
        registry: Registry | None = None,
        timeout: float = 5.0,
        signals: Iterable[int] = (),
        discover: bool = True,
        on_report: Callable[[CleanupReport], object] | None = None,
    ) -> MPCleanLifespan:
        """Wrap."""
        ...


class MakeProcess(Protocol):
    """Be `Process`."""

    def __call__(
        self,
        *args: Any,
        ctx: Any = None,
        stop: Callable[[], object] | None = None,
        **kwargs: Any,
    ) -> Process:
        """Make a process."""
        ...


class AddKind(Protocol):
    """Be `add_kind`."""

    def __call__(self, cls: type[T], close: Callable[[T, float], Iterable[Any] | None]) -> None:
        """Add it."""
        ...


class Restart(Protocol):
    """Be `restart`."""

    def __call__(self, *, via: Literal["exec", "spawn"] = "exec") -> None:
        """Restart."""
        ...


class Attach(Protocol):
    """Be `attach`."""

    def __call__(self, app: Any, **options: Any) -> None:
        """Attach."""
        ...


class ExecList(Protocol):
    """Be `execv`."""

    def __call__(self, path: str, args: list[Any]) -> NoReturn:
        """Replace the process."""
        ...


class ExecListFile(Protocol):
    """Be `execvp`."""

    def __call__(self, file: str, args: list[Any]) -> NoReturn:
        """Replace the process."""
        ...


class ExecEnv(Protocol):
    """Be `execve`."""

    def __call__(self, path: str, argv: list[Any], env: dict[str, str]) -> NoReturn:
        """Replace the process."""
        ...


class ExecEnvFile(Protocol):
    """Be `execvpe`."""

    def __call__(self, file: str, args: list[Any], env: dict[str, str]) -> NoReturn:
        """Replace the process."""
        ...


class ExecWords(Protocol):
    """Be `execl` and `execlp`."""

    def __call__(self, file: str, *args: str) -> NoReturn:
        """Replace the process."""
        ...


class ExecWordsEnv(Protocol):
    """Be `execle` and `execlpe`."""

    def __call__(self, file: str, *args: Any) -> NoReturn:
        """Replace the process."""
        ...


REGISTER: tuple[Register, ...] = (register, Registry().register)
CLEAN: Clean = clean
CLEAN_REGISTRY: Callable[[float], CleanupReport] = Registry().clean
WRAP: Wrap = MPCleanLifespan
PROCESS: tuple[MakeProcess, ...] = (Process, Registry().Process)
ADD_KIND: AddKind = add_kind
RESTART: Restart = restart
ATTACH: Attach = attach
EXEC_LIST: ExecList = execv
EXEC_LIST_FILE: ExecListFile = execvp
EXEC_ENV: ExecEnv = execve
EXEC_ENV_FILE: ExecEnvFile = execvpe
EXEC_WORDS: tuple[ExecWords, ...] = (execl, execlp)
EXEC_WORDS_ENV: tuple[ExecWordsEnv, ...] = (execle, execlpe)
NOTHING: tuple[Callable[[], None], ...] = (guard_exec, worker_init)
WORK_OFF: Callable[[Any], Callable[[], None]] = work_off


def report(report: CleanupReport, resource: ResourceReport) -> None:
    """Read all that the reports say."""
    assert_type((report.trigger, report.summary(), str(report)), tuple[str, str, str])
    assert_type((report.timeout, report.seconds), tuple[float, float])
    assert_type(report.deadline_passed, bool)
    assert_type((report.saved, report.dropped, report.cancelled), tuple[int, int, int])
    assert_type((report.closed, report.joined, report.forced), tuple[int, int, int])
    assert_type((report.semaphores, report.unlisted_semaphores), tuple[int, int])
    assert_type(report.read_ahead_bytes, int)
    assert_type((resource.name, resource.kind, resource.outcome), tuple[str, str, str])
    assert_type((resource.registered, resource.in_use), tuple[bool, bool])
    assert_type((resource.closed, resource.joined, resource.forced), tuple[bool, bool, bool])
    assert_type((resource.delivered, resource.saved, resource.dropped), tuple[int, int, int])
    assert_type((resource.failed, resource.cancelled, resource.semaphores), tuple[int, int, int])
    assert_type((resource.seconds, resource.error), tuple[float, str | None])


def nothing_else() -> None:
    """Use a name that there is not."""
    asgi_mpclean.regsiter([1])  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
