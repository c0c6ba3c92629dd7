"""Stop real servers in all ways, without the library and with it, and show what they leave behind.

    python tests/e2e/matrix.py
    python tests/e2e/matrix.py --server uvicorn --signal int --all
    python tests/e2e/matrix.py --python python3.10 --python python3.14 --jobs 2 --json matrix.json

A cell is a server, a signal, what the app is doing, a start method and a framework. By default some
of the cells are run that together have each pair of such values, and a few typical ones; with
`--all`, all. Each is started twice for real, and stopped by real signals once it is busy.

"Without" is plain multiprocessing, with the library switched off. A semaphore counts whether the
resource tracker warns of it or an orphan keeps it alive. Items count as lost if they were put, and
no `on_item` and no worker had them. What hangs is killed, and what it would have left is not told.

With the library, a cell is clean if nothing is left, no item is lost but those that were told of
(the jobs that a pool cancels, the items of queues that were never registered) or that a worker had
in hand which the signal itself has ended, and the exit status is that of the server without it. The
exit status of this command is 0 if all cells are clean.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

from matrix_cells import DIMENSIONS, cannot, pairwise, product
from matrix_runs import Row, as_json, fill, from_json
from matrix_tables import TYPICAL, impossible, summary, table, typical, unclean

from asgi_mpclean._check.commands import versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrix_cells import Cell

PACKAGES = (
    *("uvicorn", "hypercorn", "granian", "gunicorn", "daphne"),
    *("starlette", "fastapi", "nicegui", "litestar", "quart", "django"),
)


def positive(text: str) -> int:
    """Return a number of times."""
    if (number := int(text)) < 1:
        message = f"{number} is less than 1"
        raise argparse.ArgumentTypeError(message)
    return number


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    first, _, details = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, values in DIMENSIONS.items():
        parser.add_argument(
            f"--{name}",
            action="append",
            choices=values,
            metavar=name.upper(),
            help=f"only with this one, or these; one of {', '.join(values)}",
        )
    parser.add_argument("--all", action="store_true", help="run all cells, rather than all pairs")
    parser.add_argument(
        "--first", type=positive, metavar="N", help="run the first N cells of the selection only"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the selection")
    parser.add_argument(
        "--jobs", type=positive, default=2, metavar="N", help="how many at a time (default: 2)"
    )
    parser.add_argument(
        "--python",
        action="append",
        metavar="PATH",
        help="another interpreter with all of this installed to run it with, and this one not",
    )
    parser.add_argument(
        "--run",
        action="store_true",
        help="have nothing of the library in the apps, and `asgi-mpclean run` before the servers",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows to a file too")
    return parser.parse_args(words)


def selection(options: argparse.Namespace) -> list[Cell]:
    """Return the cells that are asked for, the impossible ones as well."""
    asked = product({name: getattr(options, name) for name in DIMENSIONS})
    possible = [cell for cell in asked if not cannot(cell)]
    chosen = possible if options.all else pairwise(possible, options.seed)
    if options.first:
        return chosen[: options.first]
    typical_ones = set(TYPICAL) & set(possible) - set(chosen)
    return [*chosen, *sorted(typical_ones), *(cell for cell in asked if cannot(cell))]


def run(options: argparse.Namespace) -> list[Row]:
    """Run the cells with this interpreter, and tell of each as soon as it is done."""
    cells = selection(options)
    rows: dict[Cell, Row] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(fill, cell, run=options.run): cell for cell in cells}
        try:
            for future in as_completed(futures):
                row = rows[futures[future]] = future.result()
                if row.left is not None:
                    words = "; ".join(row.faults) or f"clean, {row.left.seconds:.1f} s"
                    print(f"{row.python} {row.cell}: {words}", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [rows[cell] for cell in cells]


def run_with(python: str, words: list[str]) -> tuple[list[Row], dict[str, str]]:
    """Run the cells with another interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.json")
        command = [python, __file__, *words, "--json", str(file)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if not file.exists():
            sys.exit(f"{python} did not run the matrix")
        data = json.loads(file.read_text())
    return [from_json(row) for row in data["rows"]], data["versions"]


def own_words(options: argparse.Namespace) -> list[str]:
    """Return the words of the command line that another interpreter is given too."""
    filters = [f"--{name}={value}" for name in DIMENSIONS for value in getattr(options, name) or ()]
    words = [*filters, f"--seed={options.seed}", f"--jobs={options.jobs}"]
    words += ["--run"] if options.run else []
    words += [f"--first={options.first}"] if options.first else []
    return [*words, "--all"] if options.all else words


def show(rows: list[Row], found: dict[str, str], seconds: float) -> None:
    """Print the tables."""
    print(", ".join(f"{name} {version}" for name, version in found.items()), end="\n\n")
    for lines in (typical(rows), table(rows), summary(rows)):
        print("\n".join(lines), end="\n\n")
    print(f"{seconds / 60:.0f} minutes", end="\n\n")
    for title, lines in (
        ("Cannot be, for a reason outside of the library", impossible(rows)),
        ("Not clean with the library", unclean(rows)),
    ):
        if text := "\n".join(lines):
            print(f"{title}:\n{text}\n")


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for and print the tables; return the exit status."""
    options = parse(words)
    started = time.monotonic()
    rows: list[Row] = []
    found = versions(*PACKAGES)
    for python in options.python or ():
        more, found = run_with(python, own_words(options))
        rows += more
    if not options.python:
        rows = run(options)
    if options.json:
        data = {"versions": found, "rows": [as_json(row) for row in rows]}
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    show(rows, found, time.monotonic() - started)
    return 1 if any(row.faults for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
