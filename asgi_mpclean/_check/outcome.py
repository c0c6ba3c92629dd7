"""How a server ended, and what it left behind."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

TOLD = re.compile(r"There appear to be (\d+) leaked (\w+) objects?")
WARNING = re.compile(r"There appear to be \d+|UserWarning: resource_tracker:")
TRACEBACK = "Traceback (most recent call last)"
# What multiprocessing writes before a traceback; a server may say something between the two.
OF_A_CHILD = re.compile(r"^Process .+:$", re.MULTILINE)
SEMAPHORE = re.compile(r"sem\.|mp-")


def plural(noun: str, count: int) -> str:
    """Return a number of things in words."""
    words = "memory block" if noun == "shared_memory" else noun
    return f"{count:,} {words}{'' if count == 1 else 's'}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a server ended and what it left.

    Attributes:
        status: The exit code, or the negative number of the signal that killed it.
        seconds: From the last signal sent (from the start, if none was) to the exit.
        output: All of stdout and stderr, in the order written, up to the end of the tracker.
        left: Names left in ``/dev/shm`` when all that ends by itself had ended.
        orphans: ``"pid command line"`` of each descendant that outlived the server; the resource
            tracker and zombies are none. They have been killed since.
        warnings: The lines in which the resource tracker complains.
        tracebacks: How many tracebacks were printed.
        hung: Whether the server had to be killed.
        signalled_at: When the first signal was sent, by `time.monotonic()`.
        ended_at: When it ended, by the same clock.
    """

    status: int
    seconds: float
    output: str
    left: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tracebacks: int = 0
    hung: bool = False
    signalled_at: float = 0.0
    ended_at: float = 0.0

    @property
    def leaked(self) -> dict[str, int]:
        """What leaked, by its kind, whether the resource tracker has removed it since or not."""
        found: Counter[str] = Counter()
        for count, kind in TOLD.findall(self.output):
            found[kind] += int(count)
        for name in self.left:
            found["semaphore" if SEMAPHORE.match(name) else "shared_memory"] += 1
        return dict(found)

    @property
    def tracebacks_of_children(self) -> int:
        """How many of the tracebacks were printed by a process of multiprocessing."""
        return min(len(OF_A_CHILD.findall(self.output)), self.tracebacks)

    @property
    def faults(self) -> list[str]:
        """Everything that a clean exit does not leave, in words; empty when it was clean."""
        faults = []
        if self.hung:
            faults.append(f"hung: killed {self.seconds:.1f} s after the last signal")
        if self.left:
            faults.append(f"{len(self.left)} left in /dev/shm: {', '.join(self.left)}")
        faults.extend(f"orphan: {orphan}" for orphan in self.orphans)
        faults.extend(f"warning: {warning}" for warning in self.warnings)
        if self.tracebacks:
            faults.append(f"{self.tracebacks} tracebacks")
        return faults
