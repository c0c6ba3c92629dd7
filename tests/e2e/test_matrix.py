"""The first cells of the matrix, and whether the matrix sees what is not clean."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from matrix_cells import DIMENSIONS, SERVERS, Cell, cannot, pairs, pairwise, product
from matrix_runs import Left, Row, as_json, faults, from_json, measure
from matrix_tables import impossible, summary, table, unclean

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")

FIRST = 12
AT_A_TIME = 4
MATRIX = Path(__file__).with_name("matrix.py")
POSSIBLE = [cell for cell in product({}) if not cannot(cell)]
SELECTION = pairwise(POSSIBLE, seed=1)
# Several workers, reloads and NiceGUI take several times the CPU; they have tests of their own.
LIGHT = [
    cell
    for cell in SELECTION
    if SERVERS[cell.server].copies == 1 and cell.signal != "reload" and cell.framework != "nicegui"
]
CELLS = SELECTION if "MPC_LONG" in os.environ else LIGHT[:FIRST]


@pytest.fixture(scope="module")
def results() -> Iterator[dict[Cell, Future[Left]]]:
    """Run several cells at a time, as they mostly wait."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {cell: pool.submit(measure, cell) for cell in CELLS}
        pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(300)  # The first one to be asked for may not be the first one to be done.
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_cell_is_clean(cell: Cell, results: dict[Cell, Future[Left]]) -> None:
    left = results[cell].result()
    assert faults(cell, left) == [], left.output


# With nothing of the library in the app, and `asgi-mpclean run` in front.
RUN = [
    Cell("uvicorn-reload", "int", "pool", "spawn", "fastapi"),
    Cell("hypercorn", "term", "worker", "forkserver", "starlette"),
]
RUN_LONG = [cell for cell in SELECTION if cell not in RUN] if "MPC_LONG" in os.environ else []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cell", [*RUN, *RUN_LONG], ids=str)
def test_a_cell_is_clean_by_the_command_alone(cell: Cell) -> None:
    left = measure(cell, run=True)
    assert faults(cell, left, run=True) == [], left.output


UNCLEAN = {
    Cell("uvicorn", "term", "idle", "spawn", "starlette"): ["6 semaphores"],
    Cell("uvicorn", "term", "backlog", "fork", "fastapi"): ["10,000 lost items"],
    Cell("uvicorn", "term", "stubborn", "fork", "asgi"): ["1 orphan"],
}


@pytest.mark.parametrize(("cell", "expected"), UNCLEAN.items(), ids=str)
@pytest.mark.sampled(2)
def test_a_cell_that_is_not_clean_is_seen(cell: Cell, expected: list[str]) -> None:
    assert faults(cell, measure(cell, library=False)) == expected


IDLE = Cell("uvicorn", "term", "idle", "spawn", "starlette")
POOL = dataclasses.replace(IDLE, shape="pool")
UNREGISTERED = dataclasses.replace(IDLE, shape="unregistered")
TO_ALL = dataclasses.replace(POOL, signal="term-group")
TERMINATED = -15


@pytest.mark.parametrize(
    ("cell", "left", "expected"),
    [
        (IDLE, Left(), []),
        (IDLE, Left(hung=True), ["hangs"]),
        (IDLE, Left(error="no server"), ["could not be run: no server"]),
        (IDLE, Left(memory=1, orphans=2), ["2 orphans", "1 memory block"]),
        (IDLE, Left(doubled=2), ["2 items delivered twice"]),
        (IDLE, Left(late=True), ["the clean-up took longer than its timeout"]),
        (IDLE, Left(status=1), ["exit status 1 instead of -15"]),
        (IDLE, Left(lost=3, dropped=3), ["3 dropped items"]),
        (UNREGISTERED, Left(lost=3, dropped=3), []),
        (UNREGISTERED, Left(lost=3, dropped=2), ["1 lost item"]),
        (POOL, Left(lost=2, in_hand=2), ["2 lost items"]),
        (TO_ALL, Left(lost=2, in_hand=2), []),
        (TO_ALL, Left(lost=3, in_hand=2), ["1 lost item"]),
    ],
    ids=str,
)
def test_each_fault_is_told(cell: Cell, left: Left, expected: list[str]) -> None:
    without = Left(status=TERMINATED)
    left = dataclasses.replace(left, status=left.status or TERMINATED)
    assert faults(cell, left, without) == expected


@pytest.mark.parametrize(
    ("cell", "left", "expected"),
    [
        (POOL, Left(lost=3, cancelled=3), []),
        (POOL, Left(lost=3, cancelled=2), ["1 lost item"]),
        (POOL, Left(lost=2, in_hand=2), ["2 lost items"]),
        (dataclasses.replace(POOL, signal="int"), Left(lost=2, in_hand=2), []),
        (IDLE, Left(lost=3, dropped=3), []),
        (IDLE, Left(tracebacks=1, of_children=1), ["1 traceback"]),
    ],
    ids=str,
)
def test_by_the_command_alone_other_things_are_faults(
    cell: Cell, left: Left, expected: list[str]
) -> None:
    """Nothing is registered, so losses are told of; but no worker may print a traceback."""
    without = Left(status=TERMINATED)
    left = dataclasses.replace(left, status=TERMINATED)
    assert faults(cell, left, without, run=True) == expected


def test_the_selection_has_every_pair_and_is_the_same_each_time() -> None:
    wanted = set(itertools.chain.from_iterable(map(pairs, POSSIBLE)))
    assert set(itertools.chain.from_iterable(map(pairs, SELECTION))) == wanted
    assert len(SELECTION) < len(POSSIBLE) / 50
    assert pairwise(POSSIBLE, seed=1) == SELECTION
    assert pairwise(POSSIBLE, seed=2) != SELECTION


def test_the_tables_tell_of_each_row() -> None:
    generator = random.Random(1)  # noqa: S311 - any rows will do
    cells = generator.sample(POSSIBLE, 30)
    rows = [Row("3.12", cell, None, Left(hung=True), Left(seconds=0.5)) for cell in cells]
    rows.append(Row("3.12", IDLE, None, Left(semaphores=6), Left(hung=True), ("hangs",)))
    rows.append(Row("3.12", Cell("daphne", "reload", *["?"] * 3), "daphne has no reloader"))
    assert [from_json(as_json(row)) for row in rows] == rows
    *_, last = table(rows)
    assert "30 hang, 6 semaphores" in last
    assert list(unclean(rows)) == [f"- 3.12, {IDLE}: hangs"]
    assert list(impossible(rows)) == ["- 1 combination: daphne has no reloader"]
    assert list(summary(rows)) == [
        "CPython 3.12: 31 cells, 0 clean without the library, 30 with it"
    ]


@pytest.mark.parametrize("attached", [True, False])
def test_the_command_tells_by_its_exit_status(attached: bool, tmp_path: Path) -> None:
    """An app that the library is not attached to leaves what nobody registered."""
    chosen = [f"--{name}={getattr(UNREGISTERED, name)}" for name in DIMENSIONS]
    done = subprocess.run(
        [sys.executable, MATRIX, *chosen, "--json", tmp_path / "rows.json"],
        env={**os.environ, "MPC_ATTACHED": str(int(attached))},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == (0 if attached else 1), done.stderr
    assert ("Not clean with the library" in done.stdout) != attached
    assert f"1 → {0 if attached else 1} of 1" in done.stdout
    assert (tmp_path / "rows.json").exists()
