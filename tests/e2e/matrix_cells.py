"""What the matrix combines, what cannot be combined, and a selection that covers every pair."""

from __future__ import annotations

import dataclasses
import functools
import heapq
import importlib.util
import itertools
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Served:
    """A server, as `asgi_mpclean._check.commands.serve` takes it.

    Attributes:
        words: Its name and options.
        copies: How many processes serve.
    """

    words: str
    copies: int = 1

    @property
    def name(self) -> str:
        """The server's name alone."""
        return self.words.split()[0]


SERVERS = {
    "uvicorn": Served("uvicorn"),
    "uvicorn-uvloop": Served("uvicorn --loop uvloop"),
    "uvicorn-reload": Served("uvicorn --reload"),
    "uvicorn-workers": Served("uvicorn --workers 2", 2),
    "hypercorn": Served("hypercorn"),
    "hypercorn-workers": Served("hypercorn --workers 3", 3),
    "hypercorn-trio": Served("hypercorn -k trio"),
    "hypercorn-trio-workers": Served("hypercorn -k trio --workers 3", 3),
    "granian": Served("granian"),
    "gunicorn-uvicorn": Served("gunicorn -k uvicorn_worker.UvicornWorker"),
    "gunicorn": Served("gunicorn -k asgi"),
    "daphne": Served("daphne"),
}

SIGNALS = ("int", "term", "term-group", "int-twice", "reload")
"""Names of `asgi_mpclean._check.stops.STOPS`."""

METHODS = ("spawn", "forkserver", "fork")


@dataclasses.dataclass(frozen=True)
class Shape:
    """A module of ``apps`` and its settings.

    Attributes:
        title: What a person calls it.
        module: The module.
        text: What a process that serves has written when it is busy, and how often.
        env: The settings.
        at_import: Whether all is made when the app is imported, and nothing at start-up.
        has_children: Whether it starts processes.
        registered: Whether it registers what it makes.
    """

    title: str
    module: str
    text: tuple[str, int] | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    at_import: bool = False
    has_children: bool = True
    registered: bool = True


ASKED = {"MPC_STOP": "1"}

SHAPES = {
    "idle": Shape("two idle queues", "idle", at_import=True, has_children=False),
    "backlog": Shape("10,000 unread items", "backlog", ("filled", 1), has_children=False),
    "worker": Shape(
        "worker blocked on a full results queue", "full_results", ("worker done", 1), ASKED
    ),
    "pool": Shape(
        "busy pool", "pooled", ("job begun", 2), {"MPC_BUSY": "pool", "MPC_JOB_SECONDS": "0.5"}
    ),
    "executor": Shape(
        "busy executor",
        "pooled",
        ("job begun", 2),
        {"MPC_BUSY": "executor", "MPC_JOB_SECONDS": "0.5"},
    ),
    "unregistered": Shape(
        "queues and a worker, none registered",
        "full_results",
        ("worker done", 1),
        {"MPC_REGISTER": "0", "MPC_PROCESS": "plain"},
        registered=False,
    ),
    "stubborn": Shape("worker that ignores SIGTERM", "stubborn", ("worker ready", 1), ASKED),
}

FRAMEWORKS = ("starlette", "fastapi", "nicegui", "litestar", "quart", "django", "asgi")
AT_FIRST_REQUEST = ("django", "asgi")
"""Those that know no lifespan; their apps begin to work at the first request."""

ON_ASYNCIO_ONLY = ("nicegui", "quart", "django")


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """One combination, by the names of its values."""

    server: str
    signal: str
    shape: str
    method: str
    framework: str

    def __str__(self) -> str:
        """Return the names of the values."""
        return ", ".join(dataclasses.astuple(self))


DIMENSIONS: dict[str, Sequence[str]] = {
    "server": tuple(SERVERS),
    "signal": SIGNALS,
    "shape": tuple(SHAPES),
    "method": METHODS,
    "framework": FRAMEWORKS,
}


def product(chosen: Mapping[str, Sequence[str]]) -> list[Cell]:
    """Return all combinations of the values chosen, with all values where none are."""
    values = [chosen.get(name) or every for name, every in DIMENSIONS.items()]
    return [Cell(*combination) for combination in itertools.product(*values)]


@functools.cache
def is_installed(module: str) -> bool:
    """Tell whether there is such a module."""
    return importlib.util.find_spec(module) is not None


def cannot(cell: Cell) -> str | None:
    """Return why the combination cannot be, for a reason outside this library, if it cannot."""
    server, shape = SERVERS[cell.server], SHAPES[cell.shape]
    needed = [name for name in (cell.framework, server.name) if name != "asgi"]
    missing = [name for name in needed if not is_installed(name)]
    reasons = {
        f"{', '.join(missing)} not installed, or not for this Python": bool(missing),
        "this gunicorn has no ASGI worker of its own": (
            cell.server == "gunicorn" and not missing and not is_installed("gunicorn.workers.gasgi")
        ),
        "daphne has no reloader": cell.signal == "reload" and cell.server == "daphne",
        "uvicorn's worker does not notice that gunicorn's reloader wants it to end": (
            cell.signal == "reload" and cell.server == "gunicorn-uvicorn"
        ),
        "uvicorn's --workers and --reload exclude each other": (
            cell.signal == "reload" and cell.server == "uvicorn-workers"
        ),
        f"{cell.framework} runs on asyncio only": (
            "trio" in cell.server and cell.framework in ON_ASYNCIO_ONLY
        ),
        "daphne runs no lifespan, in which this app would begin to work": (
            cell.server == "daphne" and not (shape.at_import or cell.framework in AT_FIRST_REQUEST)
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def pairs(cell: Cell) -> Iterable[tuple[tuple[int, str], tuple[int, str]]]:
    """Return all pairs of values of two dimensions that the combination has."""
    return itertools.combinations(enumerate(dataclasses.astuple(cell)), 2)


def pairwise(cells: Iterable[Cell], seed: int) -> list[Cell]:
    """Return some of the cells that together have every pair of values that all of them have.

    Args:
        cells: What to choose from.
        seed: Decides which of those that cover the same number of new pairs comes first.

    Returns:
        The selection; the first ones cover the most.
    """
    shuffled = list(cells)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - the same selection each time is meant
    uncovered = {pair for cell in shuffled for pair in pairs(cell)}
    # The gain of a cell never grows, so the best one is the first whose noted gain still holds.
    queue = [(-len(uncovered), place) for place in range(len(shuffled))]
    chosen = []
    while uncovered:
        noted, place = heapq.heappop(queue)
        gain = sum(pair in uncovered for pair in pairs(shuffled[place]))
        if gain < -noted:
            heapq.heappush(queue, (-gain, place))
            continue
        chosen.append(shuffled[place])
        uncovered.difference_update(pairs(shuffled[place]))
    return chosen
