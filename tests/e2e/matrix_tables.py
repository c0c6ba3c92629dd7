"""The matrix as text: a Markdown table over all cells, one of the typical ones, what is unclean."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from matrix_cells import SERVERS, SHAPES, SIGNALS, Cell
from matrix_runs import Left, Row

from asgi_mpclean._check.outcome import plural
from asgi_mpclean._check.stops import STOPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TYPICAL = [
    Cell(server, how, shape, "spawn", "fastapi")
    for shape, ways in {
        "idle": [
            ("uvicorn", "int"),
            ("uvicorn", "term"),
            ("uvicorn-reload", "int"),
            ("uvicorn-workers", "term"),
            ("gunicorn-uvicorn", "term"),
        ],
        "backlog": [
            ("uvicorn", "int"),
            ("uvicorn", "term"),
            ("uvicorn-reload", "int"),
            ("gunicorn-uvicorn", "term"),
        ],
        "worker": [
            ("uvicorn", "int"),
            ("uvicorn", "term"),
            ("uvicorn-reload", "int"),
            ("uvicorn-workers", "term"),
        ],
        "stubborn": [("uvicorn", "int"), ("uvicorn", "term"), ("uvicorn-workers", "term")],
    }.items()
    for server, how in ways
]
"""What most users have. They are run in addition to the selection."""


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the table of servers and signals."""
    ran = [row for row in rows if row.left is not None]
    signals = [name for name in SIGNALS if any(row.cell.signal == name for row in ran)]
    titles = [STOPS[name].title for name in signals]
    yield from _header("server", *titles, "what was left without", "slowest with")
    for server in SERVERS:
        of_server = [row for row in ran if row.cell.server == server]
        if of_server:
            cells = ([row for row in of_server if row.cell.signal == name] for name in signals)
            yield _line(f"`{SERVERS[server].words}`", *map(_cell, cells), *_sums(of_server))
    columns = ([row for row in ran if row.cell.signal == name] for name in signals)
    yield _line("all", *map(_cell, columns), *_sums(ran))


def _header(*titles: str) -> Iterator[str]:
    yield _line(*titles)
    yield "|" + "---|" * len(titles)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(rows: list[Row]) -> str:
    if not rows:
        return ""
    without = sum(not _without(row).clean for row in rows)
    return f"{without} → {sum(bool(row.faults) for row in rows)} of {len(rows)}"


def _without(row: Row) -> Left:
    return row.without or Left()


def _sums(rows: list[Row]) -> tuple[str, str]:
    """Return what was left without the library, summed, and the longest time with it."""
    hung = sum(_without(row).hung for row in rows)
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(_without(row).counts())
    words = [f"{hung} {'hangs' if hung == 1 else 'hang'}"] if hung else []
    words += [plural(noun, count) for noun, count in counts.items() if count]
    slowest = max(row.left.seconds for row in rows if row.left)
    return ", ".join(words) or "nothing", f"{slowest:.1f} s"


def typical(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the table of typical cells, of the first Python that ran them."""
    found: dict[Cell, Row] = {}
    for row in rows:
        if row.left is not None:
            found.setdefault(row.cell, row)
    shown = [found[cell] for cell in TYPICAL if cell in found]
    if not shown:
        return
    yield from _header("app", "stopped", "without asgi-mpclean", "with it")
    for row in shown:
        cell, left = row.cell, row.left or Left()
        stopped = f"{SERVERS[cell.server].words}, {STOPS[cell.signal].title}"
        with_it = f"{', '.join(row.faults) or 'clean'}, {left.seconds:.1f} s"
        yield _line(
            SHAPES[cell.shape].title,
            stopped,
            words(_without(row)),
            with_it,
        )


def words(left: Left) -> str:
    """Return what is left, in words."""
    if left.hung or left.error:
        return "hangs" if left.hung else "could not be run"
    counts = left.counts().items()
    return " + ".join(plural(noun, count) for noun, count in counts if count) or "clean"


def unclean(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line for each cell that is not clean with the library, with the reason."""
    for row in rows:
        if row.faults:
            yield f"- {row.python}, {row.cell}: {'; '.join(row.faults)}"


def impossible(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line for each reason why cells cannot be, with their number and what they share."""
    cells: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.reason:
            cells[row.reason].append(row)
    for reason, those in cells.items():
        yield f"- {plural('combination', len(those))}: {reason}"


def summary(rows: list[Row]) -> Iterator[str]:
    """Yield a line for each Python: how many cells are clean without the library and with it."""
    ran = [row for row in rows if row.left is not None]
    for python, group in itertools.groupby(ran, key=lambda row: row.python):
        those = list(group)
        without = sum(_without(row).clean for row in those)
        clean = sum(not row.faults for row in those)
        yield (
            f"CPython {python}: {plural('cell', len(those))},"
            f" {without} clean without the library, {clean} with it"
        )
