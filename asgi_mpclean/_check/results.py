"""What a check shows, whatever shows it: rows with a verdict, and the timeline of each shutdown."""

from __future__ import annotations

import dataclasses
import platform
import sys
from typing import TYPE_CHECKING, Any

from . import shm, system
from .commands import KINDS, versions
from .findings import Finding, findings
from .outcome import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .run import Result

FRAMEWORKS = ("starlette", "fastapi", "nicegui", "litestar", "quart", "django")


@dataclasses.dataclass(frozen=True)
class Row:
    """A run, and the same without the library if that was asked for."""

    result: Result
    without: Result | None = None

    @property
    def findings(self) -> list[Finding]:
        """What is not clean with the library."""
        return findings(self.result, self.without)

    @property
    def verdict(self) -> str:
        """The word for it: clean, or not clean."""
        return verdict(self.findings)

    def results(self) -> Iterator[tuple[str, Result, list[Finding]]]:
        """Yield both runs: how the library was, what came of it, what is not clean."""
        yield "with", self.result, self.findings
        if self.without is not None:
            yield "without", self.without, findings(self.without)


def verdict(found: list[Finding]) -> str:
    """Return clean, or not clean."""
    return "not clean" if found else "clean"


def status(result: Result) -> str:
    """Return the exit status in words, a signal by its name."""
    code = result.outcome.status
    if result.outcome.hung:
        return "hangs"
    return system.status_name(code)


def leaked(result: Result) -> str:
    """Return what leaked, by kind."""
    if shm.counted_by() is None:
        return "n/a"
    return ", ".join(plural(kind, count) for kind, count in result.leaked.items()) or "-"


def remarks(rows: list[Row]) -> list[str]:
    """Return what has to be said of the counts where the system itself shows nothing."""
    if shm.is_shown():
        return []
    results = (result for row in rows for _library, result, _found in row.results())
    traced = (result.traced for result in results if result.traced is not None)
    unknown = {f"not known: {words}" for found in traced for words in found.unknown}
    return [system.REMARK, *sorted(unknown)]


def numbers(library: str, result: Result) -> list[str]:
    """Return what a table tells of a run, from its exit on; zeros do not catch the eye."""
    outcome = result.outcome
    # What was dropped without the library is not known: nobody counted.
    dropped = "?" if library == "without" else _number(result.total("dropped"))
    counts = [_number(len(outcome.orphans)), _number(outcome.tracebacks), dropped]
    return [status(result), f"{outcome.seconds:.2f}", leaked(result), *counts]


def _number(count: int) -> str:
    return f"{count:,}" if count else "-"


@dataclasses.dataclass(frozen=True)
class Bar:
    """A line of a timeline, in seconds from the first signal."""

    label: str
    start: float
    end: float
    note: str = ""


def timeline(result: Result) -> list[Bar]:
    """Return how the shutdown went: each resource until it was done with, and the exit."""
    signalled = result.outcome.signalled_at
    bars = []
    for event in result.reports:
        report = event["report"]
        end = event["at"] - signalled
        if end < 0:  # Of a process that a reloader has ended before.
            continue
        start = max(0.0, end - report["seconds"])
        bars.append(Bar(f"clean-up in {event['pid']}", start, end, report["trigger"]))
        bars += [
            Bar(
                f"  {resource['kind']} {resource['name']}",
                start,
                min(end, start + resource["seconds"]),
                _note(resource),
            )
            for resource in report["resources"]
        ]
    bars.append(Bar("exit", 0.0, result.outcome.ended_at - signalled, status(result)))
    return bars


def _note(resource: dict[str, Any]) -> str:
    counts = ("delivered", "saved", "dropped", "cancelled")
    numbers = [f"{resource[word]:,} {word}" for word in counts if resource[word]]
    return ", ".join([resource["outcome"], *numbers])


def header(rows: list[Row]) -> dict[str, str]:
    """Return the versions of what took part."""
    words = {word for row in rows for word in row.result.run.target.command}
    servers = (name for name in KINDS if any(name in word for word in words))
    python = {platform.python_implementation(): platform.python_version()}
    return python | versions("asgi-mpclean", *servers, *FRAMEWORKS)


def as_json(rows: list[Row]) -> dict[str, Any]:
    """Return everything as plain data."""
    return {
        "versions": header(rows),
        "platform": sys.platform,
        "leaks_counted_by": shm.counted_by(),
        "remarks": remarks(rows),
        "runs": [_run_as_json(row, *named) for row in rows for named in row.results()],
    }


def _run_as_json(row: Row, library: str, result: Result, found: list[Finding]) -> dict[str, Any]:
    outcome = result.outcome
    return {
        "server": result.run.target.title,
        "command": list(result.run.target.command),
        "stopped": row.result.run.stop.title,
        "library": library == "with",
        "verdict": verdict(found),
        "findings": [dataclasses.asdict(finding) for finding in found],
        "status": None if outcome.hung else outcome.status,
        "hung": outcome.hung,
        "seconds": round(outcome.seconds, 3),
        "leaked": result.leaked,
        "left": list(outcome.left),
        "orphans": list(outcome.orphans),
        "warnings": list(outcome.warnings),
        "tracebacks": outcome.tracebacks,
        "delivered": result.total("delivered"),
        "dropped": result.total("dropped"),
        "reports": [event["report"] for event in result.reports],
        "output": outcome.output,
    }
