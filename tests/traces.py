"""A program that is run by `asgi-mpclean trace`, and what the report says of it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TRACE = (sys.executable, "-m", "asgi_mpclean", "trace")


@dataclasses.dataclass
class Traced:
    """How a traced program ended, what it wrote, and the report."""

    status: int
    stdout: str
    stderr: str
    report: dict[str, Any]

    @property
    def leaks(self) -> dict[str, str]:
        """What leaked, by line, as "Queue 3": a kind, and its semaphores and blocks."""
        return {
            f"{leak['site'].rpartition('/')[2] if leak['site'] else None}": (
                f"{leak['count']} {leak['kind']} {len(leak['names'])}"
            )
            for leak in self.report["leaks"]
        }

    @property
    def endings(self) -> dict[str, list[str]]:
        """How the processes ended that made what leaked, by line."""
        return {
            str(leak["site"]).rpartition("/")[2]: [each["ended"] for each in leak["processes"]]
            for leak in self.report["leaks"]
        }

    def notes(self, name: str) -> list[tuple[str, str]]:
        """Return lines and words of a part of the report."""
        return [(str(note["site"]), note["what"]) for note in self.report[name]]


def traced(
    command: list[str],
    *,
    folder: Path,
    env: Mapping[str, str] | None = None,
    before: tuple[str, ...] = (),
    trace: tuple[str, ...] = TRACE,
    timeout: float = 50,
) -> Traced:
    """Run a command under the trace.

    Args:
        command: Its words.
        folder: Where it runs.
        env: Environment variables on top of the present ones.
        before: Words before the whole of it.
        trace: What starts the trace.
        timeout: Seconds until it is killed.
    """
    done = subprocess.run(
        [*before, *trace, "--json", "--", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    lines = done.stderr.splitlines()
    report = json.loads(lines.pop()) if lines and lines[-1].startswith('{"command"') else {}
    return Traced(done.returncode, done.stdout, "\n".join(lines), report)


def written(folder: Path, program: str) -> str:
    """Write a program, and return its path."""
    path = folder / "app.py"
    path.write_text(textwrap.dedent(program).lstrip("\n"))
    return str(path)
