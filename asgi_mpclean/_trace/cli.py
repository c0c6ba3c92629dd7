"""The command line of `asgi-mpclean trace`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import click

from . import launch, page, text
from .errors import TraceError
from .findings import as_json, findings


@click.command(options_metavar="[OPTIONS] -- COMMAND...")
@click.option("--json", "as_data", is_flag=True, help="Report as one line of JSON.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to FILE as well."
)
@click.pass_obj
def trace(command: tuple[str, ...], /, *, as_data: bool, html: Path | None) -> int:
    """Run a Python program, and tell which line made what it leaks.

    COMMAND runs as without, with each Python process that it starts, in any environment: its
    output, its terminal, its signals and its exit status are its own. When all have ended, the
    report goes to stderr.
    """
    if not command:
        message = "give the command after --, as in: asgi-mpclean trace -- python app.py"
        raise click.UsageError(message)
    if html and not html.parent.is_dir():
        message = f"there is no folder {html.parent} for --html"
        raise click.UsageError(message)
    try:
        run = launch.run(command)
    except TraceError as error:
        click.echo(f"asgi-mpclean trace: {error}", err=True)
        return error.status
    found = findings(run)
    click.echo(
        json.dumps(as_json(run, found)) if as_data else text.render(run, found).rstrip(), err=True
    )
    if html is not None:
        _write(html, page.render(run, found))
    _end_as(run.status)
    return run.status


def _write(path: Path, content: str) -> None:
    """Write the page; if it cannot be, the program's exit status stays what it is."""
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        click.echo(f"asgi-mpclean trace: {path} cannot be written: {error.strerror}", err=True)


def _end_as(status: int) -> None:
    """Be killed by the signal that killed the program, so that who waits for us sees the same."""
    if status >= 0 or sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on Windows

    sys.stderr.flush()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # The program has dumped its own.
    if -status not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-status, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [-status])
    os.kill(os.getpid(), -status)
