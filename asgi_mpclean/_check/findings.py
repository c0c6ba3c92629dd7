"""What a run shows, and the one sentence that says what to do about it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from . import tracing
from .outcome import TRACEBACK, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .run import Result

WRAP = "Wrap the app: app = MPCleanLifespan(app), or FastAPI(lifespan=mpclean_lifespan())."
NOT_SEEN = f"asgi_mpclean has done nothing in this app. {WRAP}"

TOO_SLOW = "There was no time left: have on_item take less, or give more with timeout=."
MOST = 0.9
"""The part of its time after which a clean-up has to leave things undone."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A fault, and what to do about it."""

    fault: str
    advice: str


def findings(result: Result, without: Result | None = None) -> list[Finding]:
    """Judge a run.

    Args:
        result: The run.
        without: The same run with the library switched off, if there was one: the tracebacks that
            a server prints then are its own. Those of workers are not, as the library can spare
            them.

    Returns:
        What is not clean; empty if all is.
    """
    return [*_left_behind(result), *_printed(result, without), *_lost(result)]


def _left_behind(result: Result) -> Iterator[Finding]:
    outcome = result.outcome
    unseen = None if result.events else NOT_SEEN
    if outcome.hung:
        yield Finding(
            f"hangs: killed {result.run.timeout:g} s after the signal"
            f"{tracing.awaited(result.traced)}",
            unseen
            or "Something waits without a limit that asgi_mpclean cannot end: see the output"
            " for what the server waits for, and the report for what took its time.",
        )
    for kind, count in result.leaked.items():
        yield Finding(
            f"{plural(kind, count)} leaked{tracing.makers(result.traced, kind)}",
            unseen
            or "A process made it that ended before asgi_mpclean could act: register what"
            " workers make where they make it, and start them with asgi_mpclean.Process.",
        )
    for orphan in outcome.orphans:
        yield Finding(
            f"orphan: {orphan}{tracing.starters(result.traced)}",
            unseen
            or "register() this process with a stop= that asks it to end; where it starts"
            " others, start it with asgi_mpclean.Process.",
        )


def _printed(result: Result, without: Result | None) -> Iterator[Finding]:
    outcome = result.outcome
    if without is not None:
        own = without.outcome.tracebacks - without.outcome.tracebacks_of_children
    elif result.run.stop.forced:
        own = outcome.tracebacks - outcome.tracebacks_of_children
    else:
        own = 0
    count = outcome.tracebacks - own
    if count <= 0:
        return
    if outcome.tracebacks_of_children:
        advice = (
            "Start workers with asgi_mpclean.Process, and pools and executors with"
            " initializer=worker_init: CTRL-C goes to them as well."
        )
    else:
        advice = f"See the output: {_first_error(outcome.output)}"
    yield Finding(plural("traceback", count), advice)


def _first_error(output: str) -> str:
    """Return the line that ends the first traceback."""
    lines = iter(output[output.index(TRACEBACK) :].splitlines()[1:])
    return next((line for line in lines if line and not line.startswith((" ", "\t"))), "")


def _why_dropped(resource: dict[str, Any], *, ran_out: bool) -> str:
    if ran_out:
        return TOO_SLOW
    if resource["error"] is not None and not resource["failed"]:
        return f"Unpickling raised {resource['error']}"
    return "Give register() an on_item, which is called with what is left in it."


def _called(resource: dict[str, Any]) -> str:
    """Return the name of a resource, which may be the place where it was made."""
    name = str(resource["name"])
    return f"{resource['kind']} {name}" if name.startswith("at ") else name


def _lost(result: Result) -> Iterator[Finding]:
    for event in result.reports:
        report = event["report"]
        ran_out = report["seconds"] > MOST * report["timeout"]
        for resource in report["resources"]:
            if resource["dropped"]:
                yield Finding(
                    f"{plural('item', resource['dropped'])} dropped: {_called(resource)}",
                    _why_dropped(resource, ran_out=ran_out),
                )
            if resource["failed"]:
                yield Finding(
                    f"{plural('item', resource['failed'])} failed: {_called(resource)}",
                    f"on_item raised {resource['error']}",
                )
            if resource["outcome"] == "failed":
                yield Finding(
                    f"not closed: {resource['name']}",
                    f"Closing it raised {resource['error'] or 'an exception: see the output'}",
                )
        if report["deadline_passed"]:
            yield Finding(
                f"the clean-up took longer than its {report['timeout']:g} s",
                "Give the slowest resources of the timeline a stop=, or more time with timeout=.",
            )
