"""How the servers are started: their command lines, as a user would type them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from . import system
from .errors import CheckError


@dataclasses.dataclass(frozen=True)
class Kind:
    """How one server is started.

    Attributes:
        words: What it is told, apart from the app.
        reload: The option that makes it look for changes, None if it has none.
        workers: The option for the number of processes that serve, None if it has none.
    """

    words: str
    reload: str | None = "--reload"
    workers: str | None = "--workers"


KINDS = {
    "uvicorn": Kind("--port {port}"),
    "hypercorn": Kind("--bind 127.0.0.1:{port}"),
    "granian": Kind("--interface asgi --port {port}"),
    "gunicorn": Kind("--bind 127.0.0.1:{port}"),
    "daphne": Kind("--port {port}", reload=None, workers=None),
}
"""The servers that can be asked for by name."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What is started.

    Attributes:
        title: What a person calls it.
        command: The command line, with ``{port}`` where the port is told.
        cwd: The folder to start it in.
        touch: The file whose change makes a reloader act, if it is known.
    """

    title: str
    command: tuple[str, ...]
    cwd: Path
    touch: Path | None = None


def find_app(app: str) -> tuple[str, Path, Path | None]:
    """Find what the user calls APP, without importing it.

    Args:
        app: ``module:app`` or ``path/file.py:app``; ``:app`` may be left out for the name "app".

    Returns:
        The import string for servers, the folder in which it works, and the app's file, if found.

    Raises:
        CheckError: There is no such file or module.
    """
    # A drive of Windows has a colon as well.
    is_named = ":" in app and not app.endswith(".py")
    where, _, name = app.rpartition(":") if is_named else (app, "", "app")
    if not where or not name:
        message = f"APP must be module:app or path/file.py:app, not {app!r}"
        raise CheckError(message)
    if where.endswith(".py"):
        return _find_file(Path(where), name)
    cwd = Path.cwd()
    top = where.partition(".")[0]
    if PathFinder.find_spec(top, [str(cwd), *sys.path]) is None:
        message = f"there is no module {top!r} in {cwd}, nor is one installed"
        raise CheckError(message)
    file = cwd.joinpath(*where.split("."))
    candidates = (file.with_suffix(".py"), file / "__init__.py")
    return f"{where}:{name}", cwd, next(filter(Path.is_file, candidates), None)


def _find_file(path: Path, name: str) -> tuple[str, Path, Path]:
    file = path.resolve()
    if not file.is_file():
        message = f"there is no file {path}"
        raise CheckError(message)
    # A module of a package imports its siblings by the package's name.
    folder, module = file.parent, file.stem
    while (folder / "__init__.py").is_file():
        folder, module = folder.parent, f"{folder.name}.{module}"
    return f"{module}:{name}", folder, file


def serve(app: str, server: str, *, reload: bool = False, workers: int | None = None) -> Target:
    """Return how a server serves an app.

    Args:
        app: As `find_app` takes it.
        server: A name of `KINDS`, with further words for its command line if need be, such as
            ``"uvicorn --loop uvloop"``.
        reload: Whether it shall look for changes.
        workers: How many processes shall serve; by default what it does without being told.

    Raises:
        CheckError: The server is not known or not installed, cannot do that, or there is no app.
    """
    name, *further = shlex.split(server) or [""]
    if name not in KINDS:
        message = f"server must be one of {', '.join(KINDS)}, not {name!r}; start others with --"
        raise CheckError(message)
    if name in system.NOT_SERVING:
        message = f"{name} does not run on this system"
        raise CheckError(message)
    if importlib.util.find_spec(name) is None:
        message = f"{name} is not installed here: pip install {name}"
        raise CheckError(message)
    string, cwd, file = find_app(app)
    kind = KINDS[name]
    words = [*kind.words.split(), *further]
    if name == "gunicorn" and not {"-k", "--worker-class"} & set(further):
        words += ["--worker-class", _gunicorn_worker()]
    for wanted, option, value in (
        (reload, kind.reload, []),
        (workers is not None, kind.workers, [str(workers)]),
    ):
        if wanted and option is None:
            message = f"{name} has no {'--workers' if value else '--reload'}"
            raise CheckError(message)
        if wanted and option is not None:
            words += [option, *value]
    shown = [server, *(["--reload"] if reload else []), *([f"--workers {workers}"] * bool(workers))]
    command = (sys.executable, "-m", name, string, *words)
    return Target(" ".join(shown), command, cwd, file)


def _gunicorn_worker() -> str:
    """Return gunicorn's own ASGI worker, or in an old gunicorn the one of uvicorn."""
    if importlib.util.find_spec("gunicorn.workers.gasgi") is not None:
        return "asgi"
    if importlib.util.find_spec("uvicorn_worker") is not None:
        return "uvicorn_worker.UvicornWorker"
    message = "this gunicorn has no ASGI worker: pip install -U gunicorn, or uvicorn-worker"
    raise CheckError(message)


def run(words: tuple[str, ...], touch: Path | None = None) -> Target:
    """Return a command line of the user's own.

    Args:
        words: The program and its arguments.
        touch: The file to change for a reloader; by default the first word that is a Python file.

    Raises:
        CheckError: There is no such program.
    """
    if shutil.which(words[0]) is None:
        message = f"there is no program {words[0]!r}"
        raise CheckError(message)
    scripts = (Path(word) for word in words if word.endswith(".py"))
    script = next(filter(Path.is_file, scripts), None)
    title = shlex.join([os.path.basename(words[0]), *words[1:]])
    return Target(title, words, Path.cwd(), touch or script)


def versions(*names: str) -> dict[str, str]:
    """Return the versions of those distributions that are installed."""
    distributions = importlib.metadata.distributions()
    # Their authors write some of them with a capital letter.
    installed = {found.name.lower(): found.version for found in distributions}
    return {name: installed[name] for name in names if name in installed}
