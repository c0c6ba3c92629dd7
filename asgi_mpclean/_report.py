"""What a clean-up did: the answer to "is anything lost, and what took so long?"."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

# So many bytes of each queue may wait for its `on_item`, with the one item on top that is just
# being read. What has not been sent yet waits in this process already, and does not count.
READ_AHEAD_BYTES = 8 * 1024 * 1024


@dataclasses.dataclass
class ResourceReport:
    """What was done to one resource.

    Attributes:
        name: The name given to `register`, or where the resource was registered.
        kind: The class of the resource.
        outcome: What became of it: `closed`, `copy closed` (another process made it and goes on
            using it), `already closed`, `already broken`, `joined`, `terminated`, `killed`,
            `not started`, `not a child of this process`, `still running`, `unlinked`, `failed`
            (closing it raised something), `left open` (a queue that log records are still written
            to).
        registered: False for what was discovered when the process went away.
        delivered: Items that `on_item` was called with, those included for which it raised.
        saved: Items that this process had put into another's queue and that still reached it.
        dropped: Items that nobody received: there was no `on_item`, or no time, or they could not
            be unpickled.
        failed: Of the delivered items, those for which `on_item` raised.
        cancelled: Jobs of a pool or an executor that no worker had begun, or whose worker has died.
        semaphores: Named semaphores unlinked.
        seconds: Time from the start of the clean-up until the resource was done with.
        error: What went wrong first, as text. With the outcome `failed`, what closing it raised;
            else with `failed` items, what `on_item` raised; else what an item raised that could not
            be unpickled. None if nothing of this did.
        in_use: Memory that the app still has a view of, such as an array: it stays mapped until
            that is gone, or the process.
        exitcode: Exit code of a process that has ended, as `multiprocessing` gives it.
    """

    name: str
    kind: str
    outcome: str = ""
    registered: bool = True
    delivered: int = 0
    saved: int = 0
    dropped: int = 0
    failed: int = 0
    cancelled: int = 0
    semaphores: int = 0
    seconds: float = 0.0
    error: str | None = None
    in_use: bool = False
    exitcode: int | None = None

    @property
    def closed(self) -> bool:
        """Whether this clean-up closed the resource."""
        return self.outcome in {"closed", "copy closed", "unlinked"}

    @property
    def joined(self) -> bool:
        """Whether this is a process that ended without being signalled."""
        return self.outcome == "joined"

    @property
    def forced(self) -> bool:
        """Whether a process, be it of a pool, had to be terminated or killed."""
        return self.outcome in {"terminated", "killed"}

    def __str__(self) -> str:
        """Describe the resource in one line."""
        counts = (
            (self.delivered, "delivered"),
            (self.saved, "saved"),
            (self.dropped, "dropped"),
            (self.failed, "failed"),
            (self.cancelled, "cancelled"),
        )
        items = ", ".join(f"{count} {word}" for count, word in counts if count)
        return f"{self.kind} {self.name}: {self.outcome}" + (f", items: {items}" if items else "")


@dataclasses.dataclass
class CleanupReport:
    """What one clean-up did, as attributes, as text (`str(report)`) and as JSON.

    Attributes:
        trigger: What started it: `lifespan`, a signal such as `SIGTERM`, `exit`, `exec`, `clean()`,
            or `overdue`, where the app's own shutdown waited for too long.
        timeout: Seconds it was allowed to take.
        seconds: Seconds it took.
        deadline_passed: Whether it ran out of time and had to force.
        resources: One entry for each resource, in the order of their registration.
        unlisted_semaphores: Semaphores unlinked that belong to no resource listed.
        read_ahead_bytes: So many bytes were read of each queue, at the most, that its `on_item` had
            not taken yet, and the one item on top that was just being read.
    """

    trigger: str
    timeout: float
    seconds: float = 0.0
    deadline_passed: bool = False
    resources: list[ResourceReport] = dataclasses.field(default_factory=list)
    unlisted_semaphores: int = 0
    read_ahead_bytes: int = READ_AHEAD_BYTES

    @property
    def delivered(self) -> int:
        """Items that an `on_item` received."""
        return sum(entry.delivered for entry in self.resources)

    @property
    def saved(self) -> int:
        """Items that still reached the queue of another process."""
        return sum(entry.saved for entry in self.resources)

    @property
    def dropped(self) -> int:
        """Items that nobody received."""
        return sum(entry.dropped for entry in self.resources)

    @property
    def cancelled(self) -> int:
        """Jobs of pools and executors that no worker had begun."""
        return sum(entry.cancelled for entry in self.resources)

    @property
    def closed(self) -> int:
        """Resources that were closed."""
        return sum(entry.closed for entry in self.resources)

    @property
    def joined(self) -> int:
        """Processes that ended by themselves."""
        return sum(entry.joined for entry in self.resources)

    @property
    def forced(self) -> int:
        """Processes that were terminated or killed."""
        return sum(entry.forced for entry in self.resources)

    @property
    def semaphores(self) -> int:
        """Named semaphores unlinked."""
        return self.unlisted_semaphores + sum(entry.semaphores for entry in self.resources)

    def summary(self) -> str:
        """Return one line that leaves out what did not happen."""
        counts = (
            (self.closed, "closed"),
            (self.joined, "joined"),
            (self.forced, "forced"),
            (self.semaphores, "semaphores unlinked"),
            (self.delivered, "items delivered"),
            (self.saved, "items saved"),
            (self.dropped, "items dropped"),
            (self.cancelled, "jobs cancelled"),
        )
        done = ", ".join(f"{count} {words}" for count, words in counts if count) or "nothing to do"
        return f"cleaned up in {self.seconds:.3f} s ({self.trigger}): {done}"

    def __str__(self) -> str:
        """Return the summary and a line for each resource."""
        return "\n".join([self.summary(), *(f"  {entry}" for entry in self.resources)])

    def to_dict(self) -> dict[str, Any]:
        """Return everything, the totals included, as plain data."""
        items = ("delivered", "saved", "dropped", "cancelled")
        totals = (*items, "closed", "joined", "forced", "semaphores")
        return dataclasses.asdict(self) | {name: getattr(self, name) for name in totals}

    def to_json(self) -> str:
        """Return everything, the totals included, as a JSON object."""
        return json.dumps(self.to_dict())
