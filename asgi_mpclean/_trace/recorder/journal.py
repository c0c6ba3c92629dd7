"""One file a process, to which records are appended: each a line, by one write.

A line has a word, the process's pid and fields, separated by tabs, and ends with a tab and a full
stop, so that one which a SIGKILL or a full disk has cut is known for what it is. The kernel appends
(O_APPEND), so no lock is needed, and a signal handler that makes a lock is no harm.

What could not be written is counted, and said by the next line that can be. Where none can be, a
file that is empty says it: a name costs no room on most file systems.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time

if sys.platform != "win32":
    import fcntl

FIRST_DESCRIPTOR = 900
"""From here on the file's descriptor is looked for: programs that close all theirs and open others
would get a low one again, and our lines in a file of theirs."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Windows has no O_CLOEXEC, and writes \r\n for each \n into what is not opened as binary.
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_ESCAPES = {ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


class _State:
    """Where this process writes to."""

    folder: str | None = None
    descriptor = -1
    pid = os.getpid()
    torn = False
    lost = 0


# What the process executes has the same pid and numbers of its own: no number comes twice.
_numbers = itertools.count(time.time_ns() // 1_000_000 % 1_000_000 * 1000 + 1)
_texts: dict[object, int] = {}


def open_in(folder: str) -> None:
    """Write into a folder from now on; the file is made by the first record."""
    _State.folder = folder


def close() -> None:
    """Write no more."""
    descriptor, _State.descriptor, _State.folder = _State.descriptor, -1, None
    _texts.clear()
    if descriptor >= 0:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def is_on() -> bool:
    """Tell whether records are written."""
    return _State.folder is not None


def has_begun() -> bool:
    """Tell whether this process has written anything."""
    return _State.descriptor >= 0


def write(word: str, *fields: object) -> None:
    """Append a record; where it cannot be, that is counted."""
    if _State.folder is None:
        return
    if _State.descriptor < 0 and not _open():
        return
    line = "\t".join(map(str, (word, _State.pid, *fields, ".\n")))
    _append(line.encode("utf-8", "surrogateescape"))


def guarded(function: Callable[..., None], *args: object) -> None:
    """Call a function that notes something; if it fails, that is noted, and the program goes on."""
    try:
        function(*args)
    except Exception as error:  # noqa: BLE001 - the program goes on without the note
        fail(function.__name__, error)


def fail(what: str, error: Exception) -> None:
    """Note that something could not be noted."""
    write("failed", escape(f"{what}: {error!r}"))


def escape(text: str) -> str:
    """Return a text as a field."""
    return text.translate(_ESCAPES)


def number(word: str, key: object, *fields: str) -> int:
    """Return the number of a text that many records have, which is written once."""
    if _State.descriptor < 0 and _State.folder is not None:
        _open()  # Which begins the numbers anew.
    found = _texts.get(key)
    if found is None:
        found = _texts[key] = next(_numbers)
        write(word, found, *map(escape, fields))
    return found


def new_number() -> int:
    """Return a number that nothing else has in this process."""
    return next(_numbers)


def _append(line: bytes) -> None:
    if _State.torn:
        line = b"\n" + line
    try:
        _State.torn = os.write(_State.descriptor, line) < len(line)
        lost = _State.lost + _State.torn
        if lost and not _State.torn:
            _State.lost = 0
            os.write(_State.descriptor, f"lost\t{_State.pid}\t{lost}\t.\n".encode())
    except OSError as error:
        _lose(error)


def _lose(error: OSError) -> None:
    _State.lost += 1
    if _State.lost == 1 and _State.folder is not None:
        name = f"{_State.pid}-{error.errno}.lost"
        with contextlib.suppress(OSError):
            flags = os.O_CREAT | os.O_WRONLY
            os.close(os.open(os.path.join(_State.folder, name), flags, 0o644))
    # All descriptors were closed: a file of its own again.
    _State.descriptor = -1 if error.errno in _CLOSED else _State.descriptor


_CLOSED = (9,)  # EBADF


def _open() -> bool:
    """Make the file of this process."""
    _State.pid = os.getpid()
    path = os.path.join(str(_State.folder), f"{_State.pid}-{time.time_ns()}.trace")
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | _FLAGS
    try:
        _State.descriptor = _high(os.open(path, flags, 0o644))
    except OSError as error:
        _lose(error)
        return False
    _texts.clear()
    _write_process()
    return True


def _high(descriptor: int) -> int:
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # No number that high is allowed.
            high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR)
            os.close(descriptor)
            return high
    return descriptor


def _write_process() -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    command = " ".join(sys.orig_argv)
    write("process", os.getppid(), time.time_ns(), version, *map(escape, (sys.executable, command)))


def _after_fork() -> None:
    """Let a child write a file of its own, beginning with its first record."""
    descriptor, _State.descriptor, _State.lost, _State.torn = _State.descriptor, -1, 0, False
    _State.pid = os.getpid()
    _texts.clear()
    if descriptor >= 0:
        with contextlib.suppress(OSError):
            os.close(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
