"""What `asgi-mpclean run` loads into each process of a program, when multiprocessing is imported.

The library itself is loaded when the process makes the first thing that could be left behind. Until
then all is as without it, but that a worker which CTRL-C ends prints no traceback.

It runs in the program's Python, in whose environment the library need not be installed.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import sys
import threading

from _asgi_mpclean_inject import complain, is_resource_tracker, when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

LIBRARY = "asgi_mpclean"
FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FORK_SERVER = "multiprocessing.forkserver import main"

# Those who have a `SemLock` of their own.
SEMAPHORES = (
    "multiprocessing.synchronize",
    "multiprocess.synchronize",
    "loky.backend.synchronize",
    "joblib.externals.loky.backend.synchronize",
)
# Those who have a `BaseProcess` of their own.
PROCESSES = ("multiprocessing.process", "multiprocess.process")
# One of them is loaded where an ASGI server serves; nobody else imports it.
SERVERS = (
    "uvicorn.lifespan.on",
    "uvicorn.lifespan.off",
    "hypercorn.asyncio.run",
    "hypercorn.trio.run",
    "granian.server",
    "gunicorn.arbiter",
    "daphne.server",
)
SERVER_PACKAGES = {name.partition(".")[0] for name in SERVERS}
# What a server calls to shut an app down: module, class and method.
SHUTDOWNS = (
    ("uvicorn.lifespan.on", "LifespanOn", "shutdown"),
    ("hypercorn.asyncio.lifespan", "Lifespan", "wait_for_shutdown"),
    ("hypercorn.trio.lifespan", "Lifespan", "wait_for_shutdown"),
    ("granian.asgi", "LifespanProtocol", "shutdown"),
    ("gunicorn.asgi.lifespan", "LifespanManager", "shutdown"),
)


class _Process:
    """What is known of this process.

    Attributes:
        pid: That of the process which has the library at work. A child by fork has another one.
        library: `asgi_mpclean._run.unregistered`; None as long as nobody needs it.
        failed: It could not be loaded.
        server: The pid of the process that has loaded an ASGI server to serve.
    """

    pid = 0
    library: Any = None
    failed = False
    server = 0


def is_serving() -> bool:
    """Tell whether an ASGI server serves in this process, or looks after those that do.

    A worker of the app, by fork, has the modules of the server as well.
    """
    return _Process.server == os.getpid() or (_Process.server != 0 and not _is_worker())


def _is_worker() -> bool:
    """Tell whether multiprocessing has started this process."""
    return sys.modules["multiprocessing.process"].parent_process() is not None


def _note_server(_module: ModuleType) -> None:
    _Process.server = os.getpid()


def _is_left_alone() -> bool:
    """Tell whether others end this process: a worker by its parent, which unlinks what it made.

    A handler in Python would keep a worker from dying of SIGTERM at once.
    """
    is_fork_server = FORK_SERVER in " ".join(sys.orig_argv[1:])
    return (_is_worker() or is_fork_server) and not is_serving()


def is_to_be_made() -> None:
    """Have the library at work in this process, which is going to make something."""
    try:
        if _Process.pid != os.getpid():
            if _Process.failed or _is_left_alone():
                return
            _begin()
        elif threading.get_ident() == threading.main_thread().ident:
            _Process.library.guard_if_needed()
    except Exception as error:  # noqa: BLE001 - the program goes on without it
        _Process.failed = True
        complain(f"the library cannot be used: {error!r}")


def _begin() -> None:
    if _Process.library is None:
        sys.meta_path.insert(0, _Finder)
        _Process.library = importlib.import_module(f"{LIBRARY}._run.unregistered")
    _Process.pid = os.getpid()
    _Process.library.begin(is_serving)


class _Finder:
    """Finds the library where it is, in the environment of the command `asgi-mpclean`."""

    @classmethod
    def find_spec(
        cls,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG003 - as finders have it
        target: ModuleType | None = None,  # noqa: ARG003 - the same
    ) -> ModuleSpec | None:
        """Return the library's own spec, whose modules the others find."""
        if name != LIBRARY:
            return None
        file = os.path.join(FOLDER, "__init__.py")
        return importlib.util.spec_from_file_location(
            name, file, submodule_search_locations=[FOLDER]
        )


def _watch_making(function: Callable[..., None]) -> Callable[..., None]:
    """Wrap a method that makes something."""

    @functools.wraps(function)
    def wrapped(self: Any, *args: Any, **named: Any) -> None:
        is_to_be_made()
        function(self, *args, **named)

    return wrapped


def _change_semaphores(module: Any) -> None:
    module.SemLock.__init__ = _watch_making(module.SemLock.__init__)


def _change_memory(module: Any) -> None:
    make = _watch_making(module.SharedMemory.__init__)

    @functools.wraps(make)
    def wrapped(self: Any, *args: Any, **named: Any) -> None:
        make(self, *args, **named)
        try:
            if _Process.pid == os.getpid():
                _Process.library.register_memory(self)
        except Exception as error:  # noqa: BLE001 - the program goes on without it
            complain(f"{self!r} will be left to Python: {error!r}")

    module.SharedMemory.__init__ = wrapped


def _change_processes(module: Any) -> None:
    base = module.BaseProcess
    base.start = _watch_making(base.start)
    base._bootstrap = _without_traceback(base._bootstrap)  # noqa: SLF001 - where a child begins


def _without_traceback(bootstrap: Callable[..., int]) -> Callable[..., int]:
    """Have a worker that CTRL-C ends print nothing; its exit code stays what it is.

    One that comes before its code has begun waits until then.
    """

    @functools.wraps(bootstrap)
    def wrapped(self: Any, *args: Any, **named: Any) -> int:
        run, mask = self.run, _block_interrupt()
        target = str(getattr(getattr(self, "_target", None), "__module__", ""))
        if target.partition(".")[0] in SERVER_PACKAGES:
            _Process.server = os.getpid()  # granian starts its workers by fork.

        def run_quietly() -> None:
            try:
                if mask is not None:
                    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                run()
            except KeyboardInterrupt:
                raise SystemExit(1) from None

        self.run = run_quietly
        return bootstrap(self, *args, **named)

    return wrapped


def _block_interrupt() -> set[Any] | None:
    """Block CTRL-C; returns what was blocked before, None where that cannot be done."""
    if not hasattr(signal, "pthread_sigmask"):
        return None
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}))


def _print_no_interrupt(found: Callable[..., object]) -> Callable[..., object]:
    """Have a worker print nothing if CTRL-C comes while it still imports the main module."""

    def excepthook(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            found(kind, error, traceback)

    return excepthook


def _watch_handlers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `signal.signal`: a default that is put back kills, and is guarded again.

    uvicorn puts it back at its end, and raises the signal that it was told to stop by.
    """

    @functools.wraps(function)
    def wrapped(signalnum: int, handler: Any) -> Any:
        found = function(signalnum, handler)
        is_default = isinstance(handler, int) and handler == signal.SIG_DFL
        if is_default and _Process.pid == os.getpid() and not _is_called_by_library():
            _Process.library.guard_again()
        return found

    return wrapped


def _hear_shutdown(name: str, method: str, module: ModuleType) -> None:
    """Have what the app lets go of at its shutdown kept until the exit.

    Args:
        name: The class whose method a server calls.
        method: Its name.
        module: Where that is.
    """
    cls: Any = getattr(module, name, None)
    function = getattr(cls, method, None)
    if function is None:  # Another version of the server.
        return

    @functools.wraps(function)
    def wrapped(*args: Any, **named: Any) -> Any:
        if _Process.pid == os.getpid():
            _Process.library.keep_until_exit()
        return function(*args, **named)

    setattr(cls, method, wrapped)


def _is_called_by_library() -> bool:
    caller = str(sys._getframe(2).f_globals.get("__name__", ""))  # noqa: SLF001 - the cheap way
    return caller.partition(".")[0] == LIBRARY


if not is_resource_tracker():
    for _name in SEMAPHORES:
        when_imported(_name, _change_semaphores)
    for _name in PROCESSES:
        when_imported(_name, _change_processes)
    when_imported("multiprocessing.shared_memory", _change_memory)
    for _name in SERVERS:
        when_imported(_name, _note_server)
    for _name, _class, _method in SHUTDOWNS:
        when_imported(_name, functools.partial(_hear_shutdown, _class, _method))
    signal.signal = _watch_handlers(signal.signal)
    if "--multiprocessing-fork" in sys.argv:
        sys.excepthook = _print_no_interrupt(sys.excepthook)
