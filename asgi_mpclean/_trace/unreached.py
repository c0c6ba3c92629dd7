"""What a trace cannot know, and why: an empty report never means that nobody could look."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from . import sites

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .launch import Run

_PYTHON = re.compile(r"(python|pypy)[\d.]*t?(\.exe)?$")
_UNREACHABLE = re.compile(r"-[A-Za-z]*([IES])")


def unknown(run: Run) -> Iterator[str]:
    """Yield what is not known about a command, in words.

    Args:
        run: The command, which has ended.
    """
    yield from run.trouble
    if not run.trace.seen:
        yield f"no Python process of it was reached: {_why(run.command)}"
        return
    yield from _commands(run)
    yield from _trackers(run)
    yield from _foreign(run)
    yield from _losses(run)


def _why(command: tuple[str, ...]) -> str:
    flag = _flag(command)
    if flag:
        return f"{flag} keeps it from PYTHONPATH or from sitecustomize, by which the trace gets in"
    return (
        f"{command[0]} is no Python program, or a frozen one, or not CPython, or it starts Python"
        " with -I, -E, -S or without the environment that it was given; or it ended before Python"
        " had started"
    )


def _flag(command: tuple[str, ...]) -> str:
    """Return the flag that keeps a Python from being reached, if it is one and has one."""
    if not _PYTHON.search(os.path.basename(command[0])):
        return ""
    for word in command[1:]:
        if not word.startswith("-") or word.startswith(("-c", "-m")):
            return ""
        found = _UNREACHABLE.match(word)
        if found:
            return f"-{found[1]}"
    return ""


def _commands(run: Run) -> Iterator[str]:
    """Yield which commands started a Python that was not reached."""
    seen = {pid for pid, _ in run.trace.seen}
    for process in run.trace.processes:
        for each in process.commands:
            words = tuple(each.command.split())
            if words and each.pid not in seen and _PYTHON.search(os.path.basename(words[0])):
                where = f"{sites.shown(each.site)}: process {each.pid}"
                yield f"{where} was not reached ({each.command}): {_why(words)}"


def _trackers(run: Run) -> Iterator[str]:
    registers = any(process.registers for process in run.trace.processes)
    trackers = [process for process in run.trace.processes if process.is_tracker]
    if trackers and not run.shows_disk and not all(process.exited for process in trackers):
        yield "a resource tracker did not come to its end: what it had to remove is not listed"
    if registers and not trackers:
        yield (
            "the resource tracker was not reached, which knows what leaked: only what is left on"
            " disk is listed. PYTHONPATH may have been changed in the environment"
        )


def _foreign(run: Run) -> Iterator[str]:
    modules = {module for process in run.trace.processes for module in process.foreign}
    for package in sorted({re.sub(r"\.backend\..*|\.synchronize$", "", name) for name in modules}):
        yield f"{package} makes and tracks semaphores in a way of its own, which is not traced"


def _losses(run: Run) -> Iterator[str]:
    for pid, number in run.trace.lost.items():
        yield f"process {pid} could not write its records: {os.strerror(number)}"
    for process in run.trace.processes:
        if process.lost:
            yield f"process {process.pid} could not write {process.lost} of its records"
        if process.torn:
            yield f"process {process.pid} has {process.torn} records that were cut"
        for failure in process.failed:
            yield f"process {process.pid} could not note something: {failure}"
