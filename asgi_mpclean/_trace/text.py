"""The report of a trace, for a terminal: plain lines, as it stands among the program's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import sites

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .findings import Findings, Leak, Note
    from .launch import Run

MOST_PROCESSES = 5
"""So many processes of one line are listed."""


def render(run: Run, found: Findings) -> str:
    """Return the report.

    Args:
        run: The command.
        found: What it has left.
    """
    return "\n".join(_lines(run, found)) + "\n"


def _lines(run: Run, found: Findings) -> Iterator[str]:
    yield f"asgi-mpclean trace: {headline(run, found)}"
    for leak in found.leaks:
        yield from _leak(leak)
    yield from _notes("still running, and started at:", found.children)
    yield from _notes("unread, in a queue made at:", found.unread)
    yield from _notes("kept an exit waiting:", found.waits)
    for text in found.unknown:
        yield f"  NOT KNOWN: {text}"


def headline(run: Run, found: Findings) -> str:
    """Return the report in one line."""
    reached = len({pid for pid, _ in run.trace.seen})
    if found.leaks:
        return f"{summary(found)} not released, made by {plural('line', len(found.leaks))}"
    if not reached:
        return "nothing is known"
    traced = sum(not process.is_tracker for process in run.trace.processes)
    using = plural("process", traced) if traced else "none"
    leaked = "nothing leaked" if found.is_clean else "no semaphore and no shared memory leaked"
    return f"{leaked}; {plural('Python process', reached)}, {using} with anything to trace"


def summary(found: Findings) -> str:
    """Return how much leaked."""
    semaphores = sum(leak.semaphores for leak in found.leaks)
    blocks = sum(len(leak.names) - leak.semaphores for leak in found.leaks)
    parts = []
    if semaphores:
        parts.append(plural("semaphore", semaphores))
    if blocks:
        parts.append(plural("memory block", blocks))
    return " and ".join(parts)


def title(leak: Leak) -> str:
    """Return what leaked there: "Queue, 3 semaphores", or "2 Queues, 6 semaphores"."""
    things = leak.kind if leak.things == 1 else f"{leak.things:,} x {leak.kind}"
    return f"{things}, {plural('semaphore', leak.semaphores)}" if leak.semaphores else things


def plural(noun: str, count: int) -> str:
    """Return a number of things in words."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def _leak(leak: Leak) -> Iterator[str]:
    yield f"  {sites.shown(leak.site)}  {title(leak)}"
    if text := sites.source(leak.site):
        yield f"      {text}"
    for process, ended, count in leak.processes[:MOST_PROCESSES]:
        yield f"    {count} in {process}, {ended}"
    more = leak.processes[MOST_PROCESSES:]
    if more:
        count = sum(count for *_, count in more)
        yield f"    {count} in {plural('other process', len(more))}"


def _notes(heading: str, notes: Sequence[Note]) -> Iterator[str]:
    if not notes:
        return
    yield f" {heading}"
    for note in notes:
        yield f"  {sites.shown(note.site)}  {note.what}"
        if text := sites.source(note.site):
            yield f"      {text}"
