"""Linux made to look like macOS, as far as Python programs can see.

Python imports this by itself where the folder is on PYTHONPATH, so in each process of a program.
It takes away what macOS has not, all at once: a library that does without each of two things may
still fail without both. What macOS tells in the place of `/proc` comes from `libproc.c` beside it.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import select
import signal
import sys
from typing import Any

HIDDEN = ("/proc", "/dev/shm")
PIPE_BYTES = 16 * 1024
F_SETPIPE_SZ = 1031
MISSING = {
    os: "pidfd_open memfd_create eventfd pipe2 sched_getaffinity sched_setaffinity getresuid "
    "posix_fallocate posix_fadvise P_PIDFD setns unshare",
    signal: "pidfd_send_signal sigtimedwait sigwaitinfo SIGRTMIN SIGRTMAX SIGPWR SIGSTKFLT",
}
real: dict[str, Any] = {"readlink": os.readlink}
# What asks for its platform in order to import kqueue, or libproc, which cannot be had here. psutil
# goes on seeing /proc, in the place of all that macOS tells it.
LINUX_ONLY = ("trio", "psutil")


class Hiding:
    """A function that finds nothing in the folders that macOS has not; like one in C, no method."""

    folders = HIDDEN

    def __init__(self, function: Any) -> None:
        self._function = function
        self.__name__ = function.__name__

    def __call__(self, path: Any = ".", *args: Any, **options: Any) -> Any:
        """Be that function."""
        text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        if any(text == folder or text.startswith(folder + "/") for folder in self.folders):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._function(path, *args, **options)


def hide(module: Any, name: str) -> None:
    """Put such a function in the place of one."""
    function = getattr(module, name)
    hiding = Hiding(function)
    setattr(module, name, hiding)
    for known in (os.supports_fd, os.supports_dir_fd, os.supports_effective_ids):
        if function in known:
            known.add(hiding)


class Poll:
    """A `select.poll` that says POLLIN with POLLHUP, as at the end of a file."""

    def __init__(self) -> None:
        self._poll = real["poll"]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poll, name)

    def poll(self, timeout: Any = None) -> list[tuple[int, int]]:
        """Return what is ready."""
        found = self._poll.poll(timeout)
        return [(fd, ev | select.POLLIN if ev & select.POLLHUP else ev) for fd, ev in found]


def fstat(fd: int) -> os.stat_result:
    """Be `os.fstat`, which tells of no block of shared memory which one it is."""
    status = real["fstat"](fd)
    try:
        link = real["readlink"](f"/proc/self/fd/{fd}")
    except OSError:
        return status
    if not link.startswith("/dev/shm/"):
        return status
    values = list(status)
    values[1] = values[2] = 0
    return os.stat_result(values)


def pipe() -> tuple[int, int]:
    """Be `os.pipe`, with a smaller one."""
    ends = real["pipe"]()
    real["fcntl"](ends[1], F_SETPIPE_SZ, PIPE_BYTES)
    return ends


def not_implemented(*_: Any) -> Any:
    """Be `sem_getvalue`."""
    raise NotImplementedError


def pretend() -> None:
    """Take away what macOS has not."""
    import fcntl
    import sysconfig

    sysconfig.get_config_vars()  # Its table is that of this system.
    real.update(open=builtins.open, os=type(os)("os"))
    vars(real["os"]).update(vars(os))
    real.update(fstat=os.fstat, pipe=os.pipe, poll=select.poll, fcntl=fcntl.fcntl)
    sys.platform = "darwin"
    select.PIPE_BUF = 512
    select.poll = Poll
    os.fstat, os.pipe = fstat, pipe
    for module, names in MISSING.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    if sys.version_info < (3, 13) and hasattr(os, "waitid"):
        del os.waitid
    os.supports_fd.discard(os.execve)
    for name in ("open", "listdir", "scandir", "stat", "lstat", "readlink", "access"):
        hide(os, name)
    hide(io, "open")
    builtins.open = io.open
    import multiprocessing.queues
    import multiprocessing.synchronize

    multiprocessing.queues.Queue.qsize = not_implemented
    multiprocessing.synchronize.Semaphore.get_value = not_implemented


class OnLinux:
    """Imports LINUX_ONLY as on Linux: it stands for what runs on macOS by other means."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, *_: Any) -> None:
        """Be asked for a module, and find none."""
        if name.partition(".")[0] != self._package:
            return
        sys.platform, Hiding.folders = "linux", ()
        sys.meta_path.remove(self)
        try:
            __import__(self._package)
        finally:
            sys.platform, Hiding.folders = "darwin", HIDDEN
        for module in [found for found in sys.modules if found.startswith("psutil")]:
            vars(sys.modules[module]).update(os=real["os"], open=real["open"])


if os.environ.get("LIKE_MACOS"):
    pretend()
    sys.meta_path[:0] = map(OnLinux, LINUX_ONLY)
