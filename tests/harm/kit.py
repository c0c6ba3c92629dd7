"""What the tests of harm share: a program run with the library and without, and the difference.

A program that needs nothing of ours has to do with the library what it does without it. So each is
run twice, in processes of its own with real signals, and what it printed is compared line by line;
numbers that differ from run to run, such as pids, ports and addresses, are taken out before.

    without, within = both("script.py", "registered", stop=Server.interrupt)
    assert_same(without, within)
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from asgi_mpclean._check.outcome import Outcome

PROGRAMS = Path(__file__).parent / "programs"
LONG = "MPC_LONG" in os.environ

READY = "ready\n"
"""What a program prints when it may be stopped, unless the test waits for something else."""

CHANGING = (
    # In tracebacks of others a wrapper of ours has frames as well.
    (re.compile(r'  File "[^"]*/asgi_mpclean/[^"]*", line \d+, in .*\n(?:    .*\n)*'), ""),
    (re.compile(r"0x[0-9a-f]+"), "ADDRESS"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),  # of APScheduler's jobs
    (re.compile(r"/\S+/mpclean-\w+/"), ""),  # the folder of a program's text
    (re.compile(r"\[\d+\]"), "[PID]"),  # uvicorn, gunicorn
    (re.compile(r"(?i)\b(pid|process)(\W{1,3})\d+"), r"\1\2PID"),
    (re.compile(r"(127\.0\.0\.1|localhost|\[::1?\]|0\.0\.0\.0):\d+"), r"\1:PORT"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(,\d+)?( [+-]\d{4})?"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|seconds)\b"), "SECONDS"),
    (re.compile(r"Process-\d+(:\d+)*"), "Process-N"),
    (re.compile(r"Thread-\d+"), "Thread-N"),
)


def lines(outcome: Outcome) -> list[str]:
    """Return what was printed, stdout and stderr in their order, without what always differs."""
    text = outcome.output
    for pattern, instead in CHANGING:
        text = pattern.sub(instead, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@contextlib.contextmanager
def running(
    program: str,
    *words: str,
    library: bool = True,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> Iterator[Server]:
    """Start a program.

    Args:
        program: The name of a file in `programs`, the text of one (several lines), or the name of
            a module that is run by ``-m``, such as ``uvicorn``.
        words: Its arguments; ``{port}`` in them stands for a free port, as PORT in its environment.
        library: Whether the library works in it.
        env: Environment variables on top of the present ones.
        python: The interpreter.
    """
    with contextlib.ExitStack() as stack:
        if "\n" in program:
            # A file, as workers have to import it; and of a fixed name, which tracebacks have.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mpclean-"))
            path = Path(folder, "program.py")
            path.write_text(textwrap.dedent(program))
            start = [str(path)]
        else:
            start = [str(PROGRAMS / program)] if program.endswith(".py") else ["-m", program]
        # In 3.12 and newer the programs would be told that they fork with threads.
        command = [python, "-u", "-W", "ignore::DeprecationWarning", *start, *words]
        server = Server(*command, cwd=PROGRAMS, env=env, library=library)
        yield stack.enter_context(server)


def run(
    program: str,
    *words: str,
    stop: Callable[[Server], object] | None = None,
    at: str | None = READY,
    timeout: float = 15,
    library: bool = True,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> Outcome:
    """Run a program to its end; see `running` for what is not explained here.

    Args:
        program: What is run.
        words: Its arguments.
        stop: What stops it, such as ``Server.interrupt``; by default it ends by itself.
        at: What it prints when it may be stopped; with None, it has to answer ``GET /``.
        timeout: Seconds for its end, after which it is killed and said to hang.
        library: Whether the library works in it.
        env: Environment variables.
        python: The interpreter.

    Returns:
        How it ended: status, seconds from the stop (or the start), output, orphans, what leaked.
    """
    with running(program, *words, library=library, env=env, python=python) as server:
        if stop is not None:
            server.wait_until_ready() if at is None else server.wait_for_text(at)
            stop(server)
        return server.finish(timeout)


def both(
    program: str,
    *words: str,
    stop: Callable[[Server], object] | None = None,
    at: str | None = READY,
    timeout: float = 15,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> tuple[Outcome, Outcome]:
    """Run a program without the library, then with it; takes the arguments of `run`."""
    without, within = (
        run(program, *words, stop=stop, at=at, timeout=timeout, library=lib, env=env, python=python)
        for lib in (False, True)
    )
    return without, within


def assert_same(without: Outcome, within: Outcome, *, ordered: bool = True) -> None:
    """Check that the library made no difference but the leak, the hang and the orphan.

    Where lines come from several processes or threads, they are not `ordered`.
    """
    arrange = list if ordered else sorted
    assert not within.hung, within.output
    assert arrange(lines(within)) == arrange(lines(without)), within.output
    assert within.status == without.status, within.output
    assert not within.orphans
    assert not within.leaked, within.output
