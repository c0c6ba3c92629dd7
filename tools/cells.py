"""Real servers with an app each, stopped for real, for the tables of the documentation.

    python tools/cells.py readme
    python tools/cells.py alternatives

`readme` prints six cells of the matrix of `tests/e2e/matrix.py`, without the library and with it.
`alternatives` prints what is left in five cells by what people do instead; see `alternatives.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from alternatives import ALTERNATIVES, Alternative  # noqa: E402 - beside this file
from matrix_cells import SERVERS, SHAPES, Cell  # noqa: E402 - found by the line above
from matrix_runs import Left, Row, fill, measure  # noqa: E402 - the same
from matrix_tables import typical, words  # noqa: E402 - the same

from asgi_mpclean._check.commands import versions  # noqa: E402 - the same
from asgi_mpclean._check.stops import STOPS  # noqa: E402 - the same

README = [
    Cell("uvicorn", "term", "idle", "spawn", "fastapi"),
    Cell("uvicorn-reload", "int", "idle", "spawn", "fastapi"),
    Cell("uvicorn", "int", "backlog", "spawn", "fastapi"),
    Cell("gunicorn-uvicorn", "term", "backlog", "spawn", "fastapi"),
    Cell("uvicorn", "int", "worker", "spawn", "fastapi"),
    Cell("uvicorn-workers", "term", "worker", "spawn", "fastapi"),
]

COMPARED = [
    Cell("uvicorn", "term", "idle", "spawn", "starlette"),
    Cell("uvicorn", "int", "backlog", "spawn", "starlette"),
    Cell("uvicorn", "int", "worker", "spawn", "starlette"),
    Cell("uvicorn", "term", "worker", "spawn", "starlette"),
    Cell("gunicorn-uvicorn", "term", "worker", "spawn", "starlette"),
]


def run_readme(jobs: int) -> list[str]:
    """Run the cells of the README and return the lines of its table."""
    with ThreadPoolExecutor(jobs) as pool:
        rows: list[Row] = list(pool.map(fill, README))
    return list(typical(rows))


def left_by(alternative: Alternative, cell: Cell) -> str:
    """Run a cell with what somebody does instead, and say what it leaves."""
    if not alternative.fits(cell):
        return "-"
    left: Left = measure(alternative.changed(cell), library=alternative.library)
    status = "" if left.hung else f" (exit {left.status})"
    return words(left) + status


def run_alternatives(jobs: int) -> list[str]:
    """Run all cells in all ways and return the lines of the table."""
    titles = [
        f"{SHAPES[cell.shape].title}; {SERVERS[cell.server].words}, {STOPS[cell.signal].title}"
        for cell in COMPARED
    ]
    lines = [f"| | {' | '.join(titles)} |", "|" + "---|" * (len(titles) + 1)]
    for alternative in ALTERNATIVES:
        # Servers have the environment of this process.
        env = {"PYTHONPATH": str(Path(__file__).parent), **alternative.env}
        with mock.patch.dict(os.environ, env), ThreadPoolExecutor(jobs) as pool:
            cells = pool.map(left_by, [alternative] * len(COMPARED), COMPARED)
            lines.append(f"| {alternative.title} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def main() -> None:
    """Run what is asked for and print the table."""
    first, _, details = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=["readme", "alternatives"])
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    options = parser.parse_args()
    run = run_readme if options.table == "readme" else run_alternatives
    print("\n".join(run(options.jobs)))
    packages = versions("uvicorn", "gunicorn", "starlette", "fastapi", "nicegui")
    print(", ".join(f"{name} {version}" for name, version in packages.items()))


if __name__ == "__main__":
    main()
