"""What `check --trace` has from `asgi-mpclean trace`: the lines that made what a server left."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from asgi_mpclean._inject.environment import environment as injecting
from asgi_mpclean._trace import sites
from asgi_mpclean._trace.findings import findings
from asgi_mpclean._trace.launch import FOLDER, RECORDER, Run
from asgi_mpclean._trace.reading import MEMORY
from asgi_mpclean._trace.reading import read as read_records

from . import shm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asgi_mpclean._trace.findings import Findings

    from .outcome import Outcome


def environment(env: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return the variables by which processes note what they make.

    Args:
        env: Those that the server gets on top of the present ones.
        folder: Where they note it.
    """
    return injecting({**os.environ, **env, FOLDER: folder}, [RECORDER], seen=folder)


def read(command: Sequence[str], pid: int, outcome: Outcome, folder: str) -> Findings:
    """Return what was noted, of a server that has ended.

    Args:
        command: Its command line.
        pid: Its process.
        outcome: How it ended, and what it left.
        folder: Where its processes have noted it.
    """
    trace = read_records(folder)
    orphans = (orphan.split(" ", 1) for orphan in outcome.orphans)
    names = frozenset(name.removeprefix("sem.") for name in outcome.left)
    statuses = trace.statuses() | {pid: outcome.status}
    left = {int(number): words for number, words in orphans}
    words = tuple(command)
    shown = shm.is_shown()
    return findings(Run(words, pid, outcome.status, trace, statuses, left, names, shows_disk=shown))


def leaked(traced: Findings | None) -> dict[str, int]:
    """Return what leaked, by its kind as the resource tracker calls it."""
    leaks = traced.leaks if traced is not None else ()
    semaphores = sum(leak.semaphores for leak in leaks)
    blocks = sum(len(leak.names) for leak in leaks if leak.kind == MEMORY)
    counts = {"semaphore": semaphores, "shared_memory": blocks}
    return {kind: count for kind, count in counts.items() if count}


def makers(traced: Findings | None, kind: str) -> str:
    """Return the lines that made what leaked: ": 2 x Queue at main.py:15", or nothing.

    Args:
        traced: What was noted, if it was.
        kind: What leaked, as the resource tracker calls it.
    """
    leaks = traced.leaks if traced is not None else ()
    of_memory = kind == "shared_memory"
    words = [
        f"{leak.kind if leak.things == 1 else f'{leak.things} x {leak.kind}'}"
        f" at {sites.shown(leak.site)}"
        for leak in leaks
        if (leak.kind == MEMORY) == of_memory
    ]
    return f": {', '.join(words)}" if words else ""


def awaited(traced: Findings | None) -> str:
    """Return what an exit waits for and where that comes from, or nothing."""
    notes = traced.waits if traced is not None else ()
    words = [f"{note.what}, at {sites.shown(note.site)}" for note in notes if note.site is not None]
    return f": {'; '.join(words)}" if words else ""


def starters(traced: Findings | None) -> str:
    """Return the lines that started the orphans, or nothing."""
    notes = traced.children if traced is not None else ()
    lines = Counter(sites.shown(note.site) for note in notes if note.site is not None)
    return f", started at {', '.join(lines)}" if lines else ""
