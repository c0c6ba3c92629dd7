"""Replacing the process, clean.

An exec runs neither atexit nor a finalizer: semaphores leak, the backlog of each queue is lost, and
the resource tracker stays as a zombie of the next program. The functions here have the signatures
of those in `os`. They check first that the exec can work, so that one that cannot changes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from asgi_mpclean._cpython.helpers import stop_helpers
from asgi_mpclean._cpython.starting import allow_starts
from asgi_mpclean._items.calls import in_callback
from asgi_mpclean._shutdown import state
from asgi_mpclean._shutdown.triggers import clean_before_exec
from asgi_mpclean._worker.birth import give_mask_back
from asgi_mpclean._worker.signals import give_handlers_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
    Arguments = tuple[Path, ...] | list[Any]
    Environment = Any  # As `os.execve` takes it: a mapping of strings or of bytes.

# The time (seconds) that the resource tracker and the fork server may take to end.
HELPERS_SECONDS = 1.0

# What checks arguments must not be what `guard_exec` puts in their place.
_os_execv, _os_execve = os.execv, os.execve


def execv(path: Path, args: Arguments) -> NoReturn:
    """Clean up, stop multiprocessing's helper processes, and `os.execv`.

    It cleans up as when the process goes away, by the options of the app: also what nobody
    registered, bounded by `timeout`. It may be called in any thread, and in an event loop, which
    ends there. In a forked child it leaves alone what is the parent's.

    Windows has no exec: its C library starts another process, ends this one with status 0, and
    joins the arguments with blanks, so that one with a blank in it arrives as two. There
    `restart`, or `clean(discover=True)` and `subprocess`, do what is meant.

    Args:
        path: The program.
        args: Its arguments, a list or tuple; the first is its name.

    Raises:
        ValueError: If `args` is empty, as in `os.execv`; nothing has been cleaned up then.
        TypeError: If an argument is of a wrong type; nothing has been cleaned up then.
        FileNotFoundError: If there is no such program; nothing has been cleaned up then.
        PermissionError: If it is a directory or must not be executed; nothing has been cleaned up
            then.
        OSError: If the system refuses it all the same; the message says that the clean-up has been
            done.
        RuntimeError: In an `on_item` or another callback of a clean-up.
    """
    _replace_process([path], args)


def execve(path: Path | int, argv: Arguments, env: Environment) -> NoReturn:
    """Clean up and `os.execve`: as `execv`, with an environment.

    Args:
        path: The program; a descriptor where `os.execve` takes one.
        argv: Its arguments.
        env: Its environment variables.

    Raises:
        ValueError: As `execv`, or if a variable's name holds a `=`.
        TypeError: As `execv`, or if `env` is not a mapping of strings or bytes.
        OSError: As `execv`.
        RuntimeError: As `execv`.
    """
    _replace_process([path], argv, env)


def execl(file: Path, *args: Path) -> NoReturn:
    """Clean up and `os.execl`: as `execv`, the arguments one by one."""
    execv(file, args)


def execle(file: Path | int, *args: Any) -> NoReturn:
    """Clean up and `os.execle`: as `execve`, the arguments one by one and then `env`."""
    execve(file, args[:-1], args[-1])


def execvp(file: Path, args: Arguments) -> NoReturn:
    """Clean up and `os.execvp`: as `execv`, looking for the program along PATH.

    Args:
        file: The program; with a folder in its name it is not looked for.
        args: Its arguments.

    Raises:
        ValueError: As `execv`.
        TypeError: As `execv`.
        OSError: As `execv`; FileNotFoundError if no folder of PATH has the program.
        RuntimeError: As `execv`.
    """
    _replace_process(_along_path(file, None), args)


def execvpe(file: Path, args: Arguments, env: Environment) -> NoReturn:
    """Clean up and `os.execvpe`: as `execve`, looking for the program along PATH of `env`."""
    _replace_process(_along_path(file, env), args, *(() if env is None else (env,)))


def execlp(file: Path, *args: Path) -> NoReturn:
    """Clean up and `os.execlp`: as `execvp`, the arguments one by one."""
    execvp(file, args)


def execlpe(file: Path, *args: Any) -> NoReturn:
    """Clean up and `os.execlpe`: as `execvpe`, the arguments one by one and then `env`."""
    execvpe(file, args[:-1], args[-1])


def _along_path(file: Path, env: Environment) -> list[bytes]:
    name = os.fsencode(file)
    if os.path.dirname(name):
        return [name]
    return [os.path.join(os.fsencode(folder), name) for folder in os.get_exec_path(env)]


def _replace_process(paths: Iterable[Any], args: Arguments, *env: Environment) -> NoReturn:
    if state.DISABLED:
        runnable = list(paths)
    else:
        runnable = check(paths, args, *env)
        make_ready()
    errors = []
    for path in runnable:
        try:
            os.execve(path, args, *env) if env else os.execv(path, args)  # noqa: S606
        except OSError as error:  # noqa: PERF203 - the next along PATH may be another program
            errors.append(error)
    allow_starts()
    first = _most_telling(errors)
    if state.DISABLED:
        raise first
    msg = f"{first.strerror}; the clean-up has been done"
    raise OSError(first.errno, msg, first.filename or runnable[0])


def check(paths: Iterable[Any], args: Arguments, *env: Environment) -> list[Any]:
    """Return those of `paths` that can be executed; raises the exception of `os` if none can."""
    if in_callback():
        msg = "cannot exec in a callback of a clean-up, which would be cut short"
        raise RuntimeError(msg)
    # `os` looks at its arguments before it looks for the program, and none has an empty name:
    # there is no such file, or as Windows puts it, no such argument.
    with contextlib.suppress(OSError):
        _os_execve("", args, *env) if env else _os_execv("", args)
    runnable: list[Any] = []
    errors = []
    for path in paths:
        try:
            # Only an exec with an environment takes a descriptor.
            _check_program(_as_found(path if env else os.fspath(path)))
        except OSError as error:  # noqa: PERF203 - another along PATH may be the program
            msg = f"{error.strerror}; nothing was cleaned up"
            errors.append(OSError(error.errno, msg, path))
        else:
            runnable.append(path)
    if not runnable:
        raise _most_telling(errors)
    return runnable


def _as_found(path: Any) -> Any:
    """Return the path of a program as Windows completes it, which may leave out its extension."""
    if sys.platform == "win32" and not os.path.exists(path):
        for extension in (".com", ".exe", ".bat", ".cmd"):
            full = os.fsdecode(path) + extension
            if os.path.exists(full):
                return full
    return path


def _check_program(path: Any) -> None:
    mode = os.stat(path).st_mode
    # A descriptor may be of a file that no path leads to any more.
    may_run = mode & 0o111 if isinstance(path, int) else _may_execute(path)
    if not stat.S_ISREG(mode) or not may_run:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _may_execute(path: Any) -> bool:
    return os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _most_telling(errors: list[OSError]) -> OSError:
    """Return the error that `os` raises of those along PATH."""
    missing = (FileNotFoundError, NotADirectoryError)
    return next((error for error in errors if not isinstance(error, missing)), errors[-1])


def make_ready() -> None:
    """Clean up for another program, which is to inherit nothing that we have changed."""
    clean_before_exec()
    if not state.DISABLED:
        stop_helpers(HELPERS_SECONDS)
        give_handlers_back()
        give_mask_back()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # It may be closed, broken or None.
            stream.flush()


def guard_exec() -> None:
    """Clean up before an exec by code that is not yours, such as a framework's own reloader.

    It replaces `os.execv` and `os.execve`, which all other functions of the family call. An exec
    that cannot work cleans nothing up, and all errors are those of `os`. The price: code that has
    done `from os import execv` before is not guarded, and an exec costs the clean-up. Nothing else
    costs more than before, unlike with an audit hook, which is called for each open and import,
    cannot be taken away, and hears of an exec once for each entry of PATH.

    Calling it again does nothing.
    """
    if not state.DISABLED and not getattr(os.execv, "cleans_up", False):
        os.execv = _guarded(os.execv)
        os.execve = _guarded(os.execve)


def _guarded(function: Callable[..., NoReturn]) -> Callable[..., NoReturn]:
    def guarded(path: Any, argv: Any, *env: Any, **named: Any) -> NoReturn:
        # Whatever is wrong, `os` is to say so.
        with contextlib.suppress(Exception):
            check([path], argv, *env, *named.values())
            make_ready()
        try:
            function(path, argv, *env, **named)
        finally:
            allow_starts()  # It has failed, and the program goes on.

    guarded.__name__, guarded.__doc__ = function.__name__, function.__doc__
    guarded.cleans_up = True  # type: ignore[attr-defined]  # a mark of ours
    return guarded
