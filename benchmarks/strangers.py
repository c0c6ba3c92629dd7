"""Programs that nobody here wrote: what they leave, what `trace` says of it, and what `run` leaves.

    python benchmarks/strangers.py
    python benchmarks/strangers.py --only nicegui --only tqdm --folder /tmp/strangers

Each program is of a package from PyPI, in an environment of its own that has nothing of
asgi_mpclean; environments are made by uv, and kept where ``--folder`` says so. Each is started and
stopped three times for real: alone, by ``asgi-mpclean trace`` and by ``asgi-mpclean run``. What is
left is counted from outside, as `asgi-mpclean check` counts.

The table is Markdown. The exit status is 0 if `run` leaves nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgi_mpclean._check.outcome import plural
from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asgi_mpclean._check.outcome import Outcome

BY_MPCLEAN = (sys.executable, "-m", "asgi_mpclean")
START, STOP = 60.0, 15.0
"""Seconds that a program may take to be ready, and to end."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A program of somebody else.

    Attributes:
        title: What a person calls it.
        packages: What is installed for it.
        python: The version of Python. 3.14 is the first whose start method on Linux is not fork,
            which hides a leak.
        words: What its Python is started with; ``{port}`` stands for a port.
        files: What is in its folder, by the names.
        ready: What it writes when it may be stopped; by default it has to answer a request.
        stop: What stops it; SIGINT is CTRL-C.
    """

    title: str
    packages: tuple[str, ...]
    words: tuple[str, ...]
    files: dict[str, str]
    python: str = "3.14"
    ready: str | None = "ready"
    stop: signal.Signals = signal.SIGTERM


def script(text: str) -> dict[str, Any]:
    """Return the fields of a program that is one file."""
    return {"words": ("-u", "main.py"), "files": {"main.py": text}}


NICEGUI = """
    from fastapi import FastAPI
    from nicegui import ui

    app = FastAPI()

    @ui.page("/")
    def index() -> None:
        ui.label("hello")

    ui.run_with(app)
    """
NICEGUI_3 = """
    import sys
    from nicegui import run, ui

    def double(number):
        return 2 * number

    @ui.page("/")
    async def index() -> None:
        ui.label(str(await run.cpu_bound(double, 2)))

    if __name__ in {"__main__", "__mp_main__"}:
        ui.run(port=int(sys.argv[1]), reload=True, show=False)
    """
SMYTH = """
    [tool.smyth]
    host = "127.0.0.1"

    [tool.smyth.handlers.hello]
    handler_path = "hello.handler"
    url_path = "/"
    concurrency = 4
    """
TQDM = """
    import time
    from tqdm import tqdm

    for number in tqdm(range(1000)):
        if number == 1:
            print("ready", flush=True)
        time.sleep(0.1)
    """
JOBLIB = """
    import time
    from joblib import Parallel, delayed

    def work(number):
        if number == 0:
            print("ready", flush=True)
        time.sleep(30)

    if __name__ == "__main__":
        Parallel(n_jobs=2)(delayed(work)(number) for number in range(4))
    """
TORCH = """
    import time
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Numbers(Dataset):
        def __len__(self):
            return 1000

        def __getitem__(self, number):
            time.sleep(0.05)
            return torch.ones(8) * number

    if __name__ == "__main__":
        loader = DataLoader(Numbers(), num_workers=2, multiprocessing_context="spawn")
        for number, batch in enumerate(loader):
            if number == 1:
                print("ready", flush=True)
    """
DILL = """
    import time
    import multiprocess

    def work(number):
        if number == 0:
            print("ready", flush=True)
        time.sleep(30)

    if __name__ == "__main__":
        with multiprocess.get_context("spawn").Pool(2) as pool:
            pool.map(work, range(4))
    """

UVICORN = ("-m", "uvicorn", "main:app", "--reload", "--port", "{port}")
OLD_NICEGUI = ("nicegui==2.15.*", "fastapi==0.115.*", "uvicorn[standard]==0.34.*")
HELLO = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'hello'}\n"
SMYTH_FILES = {"pyproject.toml": SMYTH, "hello.py": HELLO}

PROGRAMS = {
    "nicegui": Program(
        "NiceGUI 2.15 in FastAPI 0.115, uvicorn 0.34 --reload",
        OLD_NICEGUI,
        UVICORN,
        {"main.py": NICEGUI},
        python="3.12",
        ready=None,
        stop=signal.SIGINT,
    ),
    "nicegui3": Program(
        "NiceGUI 3, ui.run() with reload",
        ("nicegui>=3",),
        ("main.py", "{port}"),
        {"main.py": NICEGUI_3},
        ready=None,
        stop=signal.SIGINT,
    ),
    "smyth": Program(
        "smyth 0.4, four runners",
        ("smyth==0.4.*",),
        ("-m", "smyth", "--port", "{port}"),
        SMYTH_FILES,
        python="3.12",
        ready=None,
        stop=signal.SIGINT,
    ),
    "proxy.py": Program(
        "proxy.py 2.2",
        ("proxy.py==2.2.*",),
        ("-m", "proxy", "--hostname", "127.0.0.1", "--port", "{port}"),
        {},
        ready="Started",
    ),
    "tqdm": Program("tqdm's lock", ("tqdm",), **script(TQDM)),
    "joblib": Program("joblib's loky pool, at work", ("joblib",), **script(JOBLIB)),
    "torch": Program(
        "a torch DataLoader with two workers", ("torch==2.13.0",), python="3.11", **script(TORCH)
    ),
    "multiprocess": Program(
        "a multiprocess (dill) pool, at work", ("multiprocess",), **script(DILL)
    ),
}


def make_environment(program: Program, folder: Path) -> str:
    """Make the environment of a program, unless it is there; returns its interpreter."""
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        # With pip, which some packages are had by that are not on PyPI in this form.
        make = [_uv(), "venv", "-q", "--clear", "--seed", "--python", program.python, str(folder)]
        subprocess.run(make, check=True)
        install = [str(python), "-m", "pip", "install", "-q", *program.packages]
        subprocess.run(install, check=True)
        done.touch()
    return str(python)


def _uv() -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    found = shutil.which("uv", path=path)
    if found is None:
        sys.exit("this needs uv: pip install uv")
    return found


def run(program: Program, python: str, *before: str) -> Outcome:
    """Start a program, stop it and count."""
    with tempfile.TemporaryDirectory(prefix="stranger-") as name:
        folder = Path(name)
        for file, text in program.files.items():
            (folder / file).write_text(textwrap.dedent(text))
        with Server(*before, python, *program.words, cwd=folder) as server:
            if program.ready is None:
                server.wait_until_ready(START)
            else:
                server.wait_for_text(program.ready, START)
            if program.stop == signal.SIGINT:
                server.interrupt()
            else:
                server.signal(program.stop)
            return server.finish(STOP)


def left(outcome: Outcome) -> str:
    """Return what is left, in words."""
    words = ["hangs"] if outcome.hung else []
    words += [plural(noun, count) for noun, count in outcome.leaked.items()]
    words += [plural("orphan", len(outcome.orphans))] if outcome.orphans else []
    words += [plural("traceback", outcome.tracebacks)] if outcome.tracebacks else []
    return ", ".join(words) or "nothing"


def said(outcome: Outcome) -> str:
    """Return what `trace` says of a program, most first."""
    lines = [line for line in outcome.output.splitlines() if line.startswith('{"command"')]
    if not lines:
        return "nothing could be read"
    report = json.loads(lines[-1])
    words = [f"{leak['kind']} at {leak['site']} ({leak['count']})" for leak in report["leaks"]]
    sites = Counter(child["site"] or "a line that is not known" for child in report["children"])
    words += [f"child left ({n}), started at {site}" for site, n in sites.items()]
    return "; ".join(words) or "nothing"


def rows(names: list[str], folder: Path) -> Iterator[tuple[list[str], bool]]:
    """Yield the cells of each program, and whether `run` leaves nothing of it."""
    for name in names:
        program = PROGRAMS[name]
        python = make_environment(program, folder / name)
        alone = run(program, python)
        traced = run(program, python, *BY_MPCLEAN, "trace", "--json", "--")
        by_run = run(program, python, *BY_MPCLEAN, "run", "--")
        stop = "CTRL-C" if program.stop == signal.SIGINT else program.stop.name
        what = f"{program.title} (Python {program.python})"
        cells = [what, stop, left(alone), said(traced), left(by_run), f"{by_run.seconds:.1f} s"]
        yield cells, left(by_run) == "nothing" and (by_run.status == alone.status or alone.hung)


def main() -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--only", action="append", choices=PROGRAMS, help="only this one, or these")
    parser.add_argument("--folder", type=Path, help="keep the environments there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="strangers-") as temporary:
        folder = options.folder or Path(temporary)
        print("| program | stopped by | it leaves | `trace` says | by `run` it leaves | in |")
        print("|---|---|---|---|---|---|")
        clean = True
        for cells, nothing_left in rows(options.only or [*PROGRAMS], folder):
            print(f"| {' | '.join(cells)} |", flush=True)
            clean = clean and nothing_left
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
