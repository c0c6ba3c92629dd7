"""The report of a trace, as a page to send to somebody: one file that loads nothing."""

from __future__ import annotations

import shlex
from html import escape
from typing import TYPE_CHECKING

from . import sites, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .findings import Findings, Leak, Note
    from .launch import Run

STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --bad: #ef5350; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2.5rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top }
code { white-space: pre-wrap; overflow-wrap: anywhere }
.unknown { color: var(--bad) }
"""


def render(run: Run, found: Findings) -> str:
    """Return the page.

    Args:
        run: The command.
        found: What it has left.

    Returns:
        HTML.
    """
    title = f"asgi-mpclean trace: {text.headline(run, found)}"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f"<h1>{escape(title)}</h1>",
        f"<p><code>{escape(shlex.join(run.command))}</code></p>",
        *_leaks(found.leaks),
        *_notes("Still running, and where it was started", found.children),
        *_notes("Unread items, and where the queue was made", found.unread),
        *_notes("What kept an exit waiting", found.waits),
        *(f"<p class='unknown'>Not known: {escape(words)}</p>" for words in found.unknown),
        "</html>",
    ]
    # What a program is called may be no text at all.
    return "\n".join(parts).encode("utf-8", "replace").decode() + "\n"


def _leaks(leaks: Sequence[Leak]) -> Iterator[str]:
    if not leaks:
        return
    yield "<h2>Not released, by the line that made it</h2>"
    yield "<table><tr><th>line</th><th>what</th><th>made in, which ended by</th></tr>"
    for leak in leaks:
        made = [f"{count} in {process}, {ended}" for process, ended, count in leak.processes]
        cells = f"<td>{escape(text.title(leak))}</td><td>{'<br>'.join(map(escape, made))}</td>"
        yield f"<tr>{_line(leak)}{cells}</tr>"
    yield "</table>"


def _notes(heading: str, notes: Sequence[Note]) -> Iterator[str]:
    if not notes:
        return
    yield f"<h2>{escape(heading)}</h2><table>"
    for note in notes:
        yield f"<tr>{_line(note)}<td>{escape(note.what)}</td></tr>"
    yield "</table>"


def _line(found: Leak | Note) -> str:
    words, code = escape(sites.shown(found.site)), escape(sites.source(found.site))
    return f"<td>{words}<br><code>{code}</code></td>"
