"""What a command has left, by the line that made it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

from . import endings, sites, unreached
from .reading import MEMORY, Origin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .launch import Run
    from .reading import Process, Site, Waiting

LONG = 1.0
"""Seconds from which on an exit is said to wait."""


@dataclasses.dataclass(frozen=True)
class Leak:
    """Something that is always made by the same line, and was not released.

    Attributes:
        kind: What it is, such as Queue.
        site: The line that made it, None if that was not seen.
        things: How many of it, such as 2 queues.
        names: The semaphores or blocks of shared memory that belong to them.
        processes: Which processes made them, how each ended, and how many names are of it.
    """

    kind: str
    site: Site | None
    things: int
    names: tuple[str, ...]
    processes: tuple[tuple[str, str, int], ...]

    @property
    def semaphores(self) -> int:
        """How many of the names are semaphores."""
        return 0 if self.kind == MEMORY else len(self.names)


@dataclasses.dataclass(frozen=True)
class Note:
    """Something else that only an exit shows.

    Attributes:
        what: In words.
        site: The line that it comes from, None if that is not known.
    """

    what: str
    site: Site | None = None


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a command has left, and what is not known about it."""

    leaks: tuple[Leak, ...]
    children: tuple[Note, ...]
    unread: tuple[Note, ...]
    waits: tuple[Note, ...]
    unknown: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left."""
        return not (self.leaks or self.children or self.unread or self.waits)


def findings(run: Run) -> Findings:
    """Return what a command has left.

    Args:
        run: The command, which has ended.
    """
    return Findings(
        leaks=tuple(_leaks(run)),
        children=tuple(_children(run)),
        unread=tuple(_unread(run)),
        waits=tuple(_waits(run)),
        unknown=tuple(unreached.unknown(run)),
    )


def _leaks(run: Run) -> list[Leak]:
    groups: dict[tuple[Site | None, str], list[tuple[str, Process | None, Origin]]] = {}
    for name, kind in _leaked(run).items():
        process, origin = run.trace.origin(name) or (None, Origin(kind, None, ""))
        groups.setdefault((origin.site, origin.kind), []).append((name, process, origin))
    found = [_leak(run, *group, members) for group, members in groups.items()]
    return sorted(found, key=lambda leak: (-len(leak.names), sites.shown(leak.site)))


def _leaked(run: Run) -> dict[str, str]:
    """Return the names of what leaked, and what it is where nobody has seen its making."""
    kinds = {"semaphore": "Semaphore", "shared_memory": MEMORY}
    removed = {
        name.lstrip("/"): kinds.get(kind, kind)
        for process in run.trace.processes
        for kind, name in process.leaked
    }
    return removed | {name: "" for name in run.on_disk if run.trace.origin(name)}


def _leak(
    run: Run,
    site: Site | None,
    kind: str,
    members: list[tuple[str, Process | None, Origin]],
) -> Leak:
    things = {id(origin) if origin.is_composite else name for name, _, origin in members}
    counts: Counter[int] = Counter()
    makers = {}
    for _, process, _ in members:
        if process is not None:
            makers[process.started] = process
            counts[process.started] += 1
    processes = tuple(
        (endings.label(run, makers[started]), endings.ending(run, makers[started]), count)
        for started, count in counts.most_common()
    )
    return Leak(kind, site, len(things), tuple(name for name, *_ in members), processes)


def _children(run: Run) -> Iterable[Note]:
    known = {child.pid: child for process in run.trace.processes for child in process.children}
    commands = {each.pid: each for process in run.trace.processes for each in process.commands}
    for pid, command in run.left.items():
        if pid in known:
            child = known[pid]
            by = f" of a {child.by}" if child.by else ""
            yield Note(f"{child.name}{by} still runs as process {pid}", child.site)
        else:
            site = commands[pid].site if pid in commands else None
            yield Note(f"process {pid} still runs: {command}", site)


def _unread(run: Run) -> Iterable[Note]:
    found: Counter[tuple[str, Site | None]] = Counter()
    for process in run.trace.processes:
        for number, count in process.unread.items():
            origin = process.origins.get(number)
            if origin is not None and count:
                found[origin.kind, origin.site] += count
    for (kind, site), count in found.most_common():
        items = "1 unread item" if count == 1 else f"{count:,} unread items"
        yield Note(f"{kind} with {items}", site)


def _waits(run: Run) -> Iterable[Note]:
    for process in run.trace.processes:
        for waiting in process.waits:
            ended = endings.ending(run, process)
            if process.exited:
                seconds = (process.exited - waiting.since) / 1e9
                if seconds >= LONG:
                    yield Note(f"exit waited {seconds:.1f} s for {_awaited(waiting)}", waiting.site)
            elif process.left is None:
                where = endings.label(run, process)
                text = f"{where} did not come to the end of its exit ({ended}), which waited for"
                yield Note(f"{text} {_awaited(waiting)}", waiting.site)


def _awaited(waiting: Waiting) -> str:
    if waiting.what == "feeder":
        return f"the feeder of a {waiting.name}"
    if waiting.what == "child":
        return f"child process {waiting.name}"
    return f"thread {waiting.name!r}, which is not a daemon"


def as_json(run: Run, found: Findings) -> dict[str, Any]:
    """Return everything as plain data."""
    return {
        "command": list(run.command),
        "status": run.status,
        "clean": found.is_clean,
        "processes": len({pid for pid, _ in run.trace.seen}),
        "leaks": [
            {
                "kind": leak.kind,
                **_where(leak.site),
                "count": leak.things,
                "names": list(leak.names),
                "processes": [
                    {"process": process, "ended": ended, "names": count}
                    for process, ended, count in leak.processes
                ],
            }
            for leak in found.leaks
        ],
        **{
            name: [{"what": note.what, **_where(note.site)} for note in getattr(found, name)]
            for name in ("children", "unread", "waits")
        },
        "unknown": list(found.unknown),
    }


def _where(site: Site | None) -> dict[str, Any]:
    if site is None:
        return {"site": None, "file": None, "line": None, "source": ""}
    return {
        "site": sites.shown(site),
        "file": site.file,
        "line": site.line,
        "source": sites.source(site),
    }
