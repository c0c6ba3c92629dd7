"""What a check shows in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from .results import Bar, Row, header, numbers, remarks, timeline, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from .findings import Finding
    from .run import Result, Run

NOT_A_TERMINAL = 110
"""Columns to write where nobody says how many there are."""


class Progress:
    """A line that says what is being done, and how much is left."""

    def __init__(self, console: Console, runs: int) -> None:
        """Prepare it for so many runs."""
        columns = (SpinnerColumn(), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
        text = TextColumn("{task.description}", markup=False)
        self._progress = RichProgress(*columns, text, console=console, transient=True)
        self._task = self._progress.add_task("", total=runs)
        self._begun = 0

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Take it away."""
        self._progress.stop()

    def step(self, run: Run) -> Callable[[str], None]:
        """Return what is told the steps of a run."""
        self._progress.update(self._task, completed=self._begun)
        self._begun += 1
        title = run.target.title if run.library else f"{run.target.title} without asgi_mpclean"
        return lambda step: self._progress.update(self._task, description=f"{title}: {step}")


def show(rows: list[Row], console: Console) -> None:
    """Print the table, under it what to do, and the timelines."""
    console.print(_table(rows))
    for remark in remarks(rows):
        console.print(Text(remark, style="italic"))
    for row in rows:
        _show_findings(row, console)
    for row in rows:
        _show_timeline(row, console)


def console(*, stderr: bool) -> Console:
    """Return where to write to."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=NOT_A_TERMINAL)


def _table(rows: list[Row]) -> Table:
    compares = any(row.without is not None for row in rows)
    caption = ", ".join(f"{name} {version}" for name, version in header(rows).items())
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=caption,
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("run", min_width=12, overflow="fold")
    table.add_column("verdict")
    table.add_column("exit", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("leaked")
    for name in ("orphans", "tracebacks", "dropped"):
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        for library, result, found in row.results():
            table.add_row(*_cells(library, result, found))
        if compares:
            table.add_section()
    return table


def _cells(library: str, result: Result, found: list[Finding]) -> list[Text]:
    name = title(result.run) if library == "with" else "  without asgi_mpclean"
    judged = Text(verdict(found), style="red" if found else "green")
    return [Text(name), judged, *map(Text, numbers(library, result))]


def _show_findings(row: Row, console: Console) -> None:
    if not row.findings:
        return
    console.print()
    console.print(Text(title(row.result.run), style="bold"))
    for finding in row.findings:
        console.print(Text.assemble(("* ", "red"), finding.fault))
        console.print(Padding(Text(finding.advice), (0, 2)))


def title(run: Run) -> str:
    """Return what a person calls the run."""
    return f"{run.target.title}, {run.stop.title}"


def _show_timeline(row: Row, console: Console) -> None:
    bars = timeline(row.result)
    longest = max(bar.end for bar in bars) or 1.0
    console.print()
    seconds = f"{row.result.outcome.seconds:.2f} s to the exit"
    console.print(Text(f"{title(row.result.run)}: {seconds}", style="bold"))
    for bar in bars:
        drawn = _drawn(bar, longest, console.width, ink="=" if console.options.ascii_only else "━")
        console.print(drawn, no_wrap=True, overflow="ellipsis")


def _drawn(bar: Bar, longest: float, width: int, ink: str) -> Text:
    label_width, bar_width = width // 3, width // 3
    first = round(bar.start / longest * bar_width)
    length = max(1, round(bar.end / longest * bar_width) - first)
    label = bar.label if len(bar.label) <= label_width else f"{bar.label[: label_width - 1]}…"
    drawn = " " * first + ink * length
    return Text.assemble(
        f"{label:<{label_width}} ",
        (f"{drawn:<{bar_width}}", "cyan"),
        f" {bar.end:6.3f} s  {bar.note}",
    )
