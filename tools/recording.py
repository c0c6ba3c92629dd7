"""Record a terminal without the library and with it, and write docs/recording.svg.

    python tools/recording.py

Both are real: uvicorn with `recorded_app.py` in a pseudo-terminal, stopped by the CTRL-C key. Lines
have the seconds since that in front.
"""

from __future__ import annotations

import re
import sys
import textwrap
import time
from pathlib import Path

from recorded_app import JOBS
from rich.console import Console
from rich.text import Text

from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.outcome import plural
from asgi_mpclean._check.server import Server

HERE = Path(__file__).parent
FILE = HERE.parent / "docs" / "recording.svg"
WIDTH = 96
CLOCK = 9
PATIENCE = 10.0
"""Seconds until somebody presses CTRL-C again."""
TRACEBACK_LINES = 2
"""So many lines of a traceback are shown."""

READY = f"{JOBS} jobs done"
DELIVERED = re.compile(r"(\d+) items delivered")

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\^C(?=.)|\r")
FOLDER = re.compile(r'"/\S+/(?=multiprocessing/)')

# That of rich, without a font from the web.
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def stopped_by_hand(*, library: bool) -> tuple[list[tuple[float | None, str]], str]:
    """Start the server, press CTRL-C, and once more if nothing comes of it.

    Returns:
        What was printed, each line with the seconds since the key; and what was lost or left.
    """
    lines: list[tuple[float | None, str]] = []
    command = [sys.executable, "-m", "uvicorn", "--port", "{port}", "recorded_app:app"]
    with Server(*command, cwd=HERE, pty=True, library=library) as server:
        server.wait_until_ready()
        server.wait_for_text(READY)
        time.sleep(1)  # The pipe of the results is full by then.
        lines += [(None, line) for line in server.output.splitlines()]
        seen = len(lines)
        pressed = time.monotonic()

        def look() -> bool:
            """Note the lines that are new, and when they came."""
            nonlocal seen
            ended = server.has_ended
            complete, _, _rest = server.output.rpartition("\n")
            new = complete.splitlines()[seen:]
            seen += len(new)
            lines.extend((time.monotonic() - pressed, line) for line in new if line != "^C")
            return ended

        for patience in (PATIENCE, 2.0):
            server.interrupt()
            lines.append((time.monotonic() - pressed, "^C"))
            if eventually(look, patience):
                break
        look()
        outcome = server.finish(5)
    left = [plural(kind, count) for kind, count in outcome.leaked.items()]
    left += [plural("orphan process", len(outcome.orphans))] if outcome.orphans else []
    delivered = DELIVERED.search(outcome.output)
    lost = JOBS - int(delivered[1] if delivered else 0)
    left += [f"{plural('result', lost)} lost"] if lost else []
    return lines, ", ".join(left) or "nothing is lost or left behind"


def shown(lines: list[tuple[float | None, str]]) -> list[tuple[float | None, str]]:
    """Return the lines without the middle of tracebacks, and without our own requests."""
    kept: list[tuple[float | None, str]] = []
    inside = 0
    for seconds, printed in lines:
        line = FOLDER.sub('".../', CONTROL.sub("", printed))
        inside = inside + 1 if line.startswith((" ", "Traceback")) else 0
        if inside == TRACEBACK_LINES + 1:
            kept.append((seconds, "  ..."))
        elif inside <= TRACEBACK_LINES and line.strip() and "GET / HTTP" not in line:
            kept.append((seconds, line))
    return kept


def show(console: Console, title: str, *, library: bool) -> None:
    """Print one run."""
    console.print(Text(title, "bold green" if library else "bold red"))
    command = "uvicorn app:app"
    console.print(f"{' ' * CLOCK}$ {command if library else f'ASGI_MPCLEAN_DISABLE=1 {command}'}")
    lines, left = stopped_by_hand(library=library)
    for seconds, line in shown(lines):
        clock = "" if seconds is None else f"{seconds:5.1f} s"
        for part in textwrap.wrap(line, WIDTH - CLOCK, subsequent_indent=" " * 10):
            style = "bold yellow" if part == "^C" else ""
            console.print(Text.assemble((clock.ljust(CLOCK), "cyan"), (part, style)))
            clock = ""
    seconds = lines[-1][0] or 0.0
    console.print(Text(f"{' ' * CLOCK}Ended after {seconds:.1f} s; {left}.", "bold"), end="\n\n")


def main() -> None:
    """Record both, and write the file."""
    console = Console(record=True, width=WIDTH, force_terminal=True, highlight=False)
    show(console, "Without asgi_mpclean", library=False)
    show(console, "With asgi_mpclean", library=True)
    console.save_svg(str(FILE), title="CTRL-C", code_format=SVG, unique_id="recording")


if __name__ == "__main__":
    main()
