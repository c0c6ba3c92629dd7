"""The command line of `asgi-mpclean check`."""

from __future__ import annotations

import dataclasses
import io
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asgi_mpclean._trace.cli import trace

from . import commands, launch, page, screen, shm
from .errors import CheckError
from .results import Row, as_json
from .run import Run, perform
from .stops import STOPS, refusal
from .system import STOPS_BY_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
SECONDS = click.FloatRange(min=0, min_open=True)
WRONG_USE = 2
INTERRUPTED = 130
TERMINATED = 143


class Signals(click.ParamType):  # type: ignore[type-arg] # generic from click 8.4 on
    """Names of ways to stop a server, separated by commas."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Return the names."""
        names = [name.strip() for name in str(value).split(",")]
        for name in names:
            if name not in STOPS:
                self.fail(refusal(name), param, ctx)
        return names


@dataclasses.dataclass(frozen=True)
class Options:
    """What was asked for."""

    command: tuple[str, ...]
    app: str | None
    server: tuple[str, ...]
    reload: bool
    workers: int | None
    signal: tuple[list[str], ...]
    request: tuple[tuple[str, str], ...]
    touch: Path | None
    port: int | None
    timeout: float
    start_timeout: float
    repeat: int
    compare: bool
    trace: bool
    json: bool
    html: Path | None


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="asgi-mpclean")
def cli() -> None:
    """See whether an ASGI server that uses multiprocessing exits clean."""


cli.add_command(trace)


@cli.command(context_settings=CONTEXT, options_metavar="[OPTIONS]")
@click.argument("app", metavar="[APP | -- COMMAND...]", required=False)
@click.option(
    "--server",
    multiple=True,
    metavar="NAME",
    help=f"What serves APP: {', '.join(commands.KINDS)}; with words of its own if need be, as in"
    " 'uvicorn --loop uvloop'. May be repeated.  [default: uvicorn]",
)
@click.option("--reload", is_flag=True, help="Have the server look for changes.")
@click.option("--workers", type=click.IntRange(min=1), help="Have so many processes serve.")
@click.option(
    "--signal",
    multiple=True,
    type=Signals(),
    help=f"How to stop it, several by commas: {', '.join(STOPS)}."
    f"  [default: {','.join(STOPS_BY_DEFAULT)}]",
)
@click.option(
    "--request",
    nargs=2,
    multiple=True,
    metavar="METHOD PATH",
    help="Put the app to work first, such as: POST /jobs. May be repeated.",
)
@click.option(
    "--touch",
    type=click.Path(exists=True, path_type=Path),
    help="The file that `reload` changes.  [default: that of the app]",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The port, if it matters.  [default: a free one]"
)
@click.option(
    "--timeout",
    type=SECONDS,
    default=15.0,
    show_default=True,
    help="Seconds to the exit, after which it hangs.",
)
@click.option(
    "--start-timeout",
    type=SECONDS,
    default=30.0,
    show_default=True,
    help="Seconds to the first answer.",
)
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Run each so often.")
@click.option("--compare", is_flag=True, help="Run each without asgi_mpclean as well.")
@click.option("--trace", is_flag=True, help="Name the line that made what is left.")
@click.option("--json", is_flag=True, help="Print JSON instead of the table.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to FILE as well."
)
@click.pass_obj
def check(command: tuple[str, ...], /, **given: Any) -> int:
    """Start the server of an app, stop it, and count what is left.

    APP is module:app or path/file.py:app. Anything else that serves is started by its own command
    line after `--`; {port} in it is replaced by a free port.

    The exit status is 0 if every run was clean, 1 if one was not, 2 if nothing could be checked.
    """
    # Elsewhere than on Linux nothing but the trace knows what is there.
    options = Options(command, **{**given, "trace": given["trace"] or not shm.is_shown()})
    _check_usage(options)
    console = screen.console(stderr=options.json)
    # As at CTRL-C, the servers that were started are ended on the way out.
    found = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        rows = _run_all(options, console)
    except CheckError as error:
        raise click.ClickException(str(error)) from None
    finally:
        signal.signal(signal.SIGTERM, found)
    _show(rows, options, console)
    return 0 if all(row.verdict == "clean" for row in rows) else 1


@cli.command("run", context_settings=CONTEXT, options_metavar="")
@click.argument("command", metavar="-- COMMAND...", nargs=-1)
@click.pass_obj
def run_command(given: tuple[str, ...], /, command: tuple[str, ...]) -> int:
    """Run a command whose Python processes end clean, with no change to the program.

    A signal that kills cleans up first, and so do an exec and the exit of a server; workers that
    CTRL-C ends print no traceback. Output and exit status are the command's own.

    The exit status is 127 if there is no such command, 126 if it cannot be started.
    """
    if command or not given:
        message = "give a command line after --"
        raise click.UsageError(message)
    return launch.start(given)


def _check_usage(options: Options) -> None:
    if bool(options.app) == bool(options.command):
        message = "give either APP, or a command line after --"
        raise click.UsageError(message)
    if options.command and (options.server or options.reload or options.workers):
        message = "--server, --reload and --workers go with APP: write them in the command line"
        raise click.UsageError(message)

    if options.html and not options.html.parent.is_dir():
        message = f"there is no folder {options.html.parent} for --html"
        raise click.UsageError(message)


def _run_all(options: Options, console: Console) -> list[Row]:
    runs = list(_runs(options))
    rows = []
    with screen.Progress(console, len(runs) * (1 + options.compare)) as progress:
        for run in runs:
            result = perform(run, progress.step(run))
            without = None
            if options.compare:
                other = dataclasses.replace(run, library=False)
                without = perform(other, progress.step(other))
            rows.append(Row(result, without))
    return rows


def _runs(options: Options) -> Iterator[Run]:
    asked = [name for names in options.signal for name in names]
    for stop in (STOPS[name] for name in asked or STOPS_BY_DEFAULT):
        for target in _targets(options, reload=options.reload or stop.after_change):
            for _ in range(options.repeat):
                yield Run(
                    target,
                    stop,
                    requests=options.request,
                    timeout=options.timeout,
                    start_timeout=options.start_timeout,
                    port=options.port,
                    trace=options.trace,
                )


def _targets(options: Options, *, reload: bool) -> Iterator[commands.Target]:
    if options.command:
        yield commands.run(options.command, options.touch)
        return
    for server in options.server or ("uvicorn",):
        target = commands.serve(str(options.app), server, reload=reload, workers=options.workers)
        yield dataclasses.replace(target, touch=options.touch or target.touch)


def _show(rows: list[Row], options: Options, console: Console) -> None:
    if options.json:
        click.echo(json.dumps(as_json(rows), indent=2))
    else:
        screen.show(rows, console)
    if options.html is not None:
        try:
            options.html.write_text(page.render(rows), encoding="utf-8")
        except OSError as error:
            message = f"{options.html} cannot be written: {error.strerror}"
            raise click.ClickException(message) from None


def run(words: list[str]) -> int:
    """Run the command line.

    Args:
        words: What follows the program's name.

    Returns:
        The exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        # On Windows a pipe takes the letters of one language only.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # click takes the `--` out, but what follows it is another's command line.
    own, command = words, []
    if "--" in words:
        place = words.index("--")
        own, command = words[:place], words[place + 1 :]
    try:
        status = cli.main(own, prog_name="asgi-mpclean", standalone_mode=False, obj=tuple(command))
    except click.ClickException as error:
        error.show()
        return WRONG_USE
    except click.Abort:
        return INTERRUPTED
    return int(status or 0)
