"""What a check shows, as a page to send to somebody: one file that loads nothing."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .results import header, numbers, remarks, timeline, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .findings import Finding
    from .results import Row
    from .run import Result

STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c62828; --good: #2e7d32; --bar: #4a90d9; }
@media (prefers-color-scheme: dark) { :root { --bad: #ef5350; --good: #66bb6a; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2.5rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line) }
td.number, th.number { text-align: right }
.clean { color: var(--good) } .not { color: var(--bad) }
.fault { color: var(--bad) }
.scroll { overflow-x: auto }
.line { display: grid; grid-template-columns: 18rem 1fr 16rem; gap: .8rem; font-size: .85rem }
.line > :first-child { overflow: hidden; text-overflow: ellipsis; white-space: pre }
.bar { background: var(--bar); height: .8rem; border-radius: 2px; margin-top: .25rem;
  min-width: 2px }
details { margin-top: .8rem }
pre { overflow: auto; max-height: 30rem; padding: .8rem; border: 1px solid var(--line) }
footer { margin-top: 3rem; font-size: .85rem; opacity: .7 }
"""
COLUMNS = ("exit", "seconds", "leaked", "orphans", "tracebacks", "dropped", "verdict")


def render(rows: list[Row]) -> str:
    """Return the page.

    Args:
        rows: What was run.

    Returns:
        HTML.
    """
    unclean = sum(bool(row.findings) for row in rows)
    title = f"{unclean} of {len(rows)} not clean" if unclean else "All clean"
    made_with = ", ".join(f"{name} {version}" for name, version in header(rows).items())
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        f"<title>asgi-mpclean check: {title}</title><style>{STYLE}</style>",
        f"<h1>asgi-mpclean check: {title}</h1>",
        *_table(rows),
        *(f"<p>{escape(remark)}</p>" for remark in remarks(rows)),
        *(part for row in rows for part in _details(row)),
        f"<footer>{escape(made_with)}</footer></html>",
    ]
    return "\n".join(parts) + "\n"


def _table(rows: list[Row]) -> Iterator[str]:
    names = "".join(f"<th>{name}</th>" for name in ("server", "stopped", "asgi_mpclean", *COLUMNS))
    yield f"<div class='scroll'><table><thead><tr>{names}</tr></thead><tbody>"
    for row in rows:
        for library, result, found in row.results():
            run = result.run
            words = [run.target.title, run.stop.title, library, *numbers(library, result)]
            cells = "".join(f"<td>{escape(word)}</td>" for word in words)
            word = verdict(found)
            yield f"<tr>{cells}<td class='{word.split()[0]}'>{word}</td></tr>"
    yield "</tbody></table></div>"


def _details(row: Row) -> Iterator[str]:
    run = row.result.run
    yield f"<h2>{escape(run.target.title)}, {escape(run.stop.title)}</h2>"
    yield from _advice(row.findings)
    yield from _timeline(row.result)
    for library, result, _found in row.results():
        yield f"<details><summary>Output {library} asgi_mpclean</summary>"
        yield f"<pre>{escape(result.outcome.output)}</pre></details>"


def _advice(found: list[Finding]) -> Iterator[str]:
    if found:
        yield "<ul>"
        for finding in found:
            fault = f"<span class='fault'>{escape(finding.fault)}</span>"
            yield f"<li>{fault}<br>{escape(finding.advice)}</li>"
        yield "</ul>"


def _timeline(result: Result) -> Iterator[str]:
    bars = timeline(result)
    longest = max(bar.end for bar in bars) or 1.0
    for bar in bars:
        left, width = (100 * part / longest for part in (bar.start, bar.end - bar.start))
        label, note = escape(bar.label), escape(bar.note)
        yield (
            f"<div class='line'><span title='{label}'>{label}</span>"
            f"<div><div class='bar' style='margin-left:{left:.1f}%;width:{width:.1f}%'></div></div>"
            f"<span>{bar.end:.3f} s &nbsp; {note}</span></div>"
        )
