"""Every page, followed word for word: files written, commands typed, what is printed compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pages import PAGES, PICTURES, ROOT, Block, blocks, steps
from terminal import SECONDS, Desk, PageError, as_pattern, same

from asgi_mpclean._check.net import free_port

LONG = "MPC_LONG" in os.environ
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc, and types into bash")

QUICK = {"README.md", "tutorial.md"}
"""The pages that are followed without `--long` as well."""

PORTS = ("8000", "8001", "8080", "6379")
NEEDED = {"leftovers.md": "redis-server", "torch.md": "torch"}
"""What a page needs that not every machine has: a program, or a package."""


def name(page: Path) -> str:
    """Return what a person calls the page."""
    return str(page.relative_to(ROOT))


def marked(page: Path) -> list[pytest.MarkDecorator]:
    """Return the reasons why a page is not followed."""
    marks = [LINUX]
    needed = NEEDED.get(page.name)
    if needed and not shutil.which(needed) and not is_installed(needed):
        marks.append(pytest.mark.skip(reason=f"needs {needed}"))
    room = ROOT / "asgi_mpclean" / f"_{page.stem}"
    if page.name in {"run.md", "trace.md"} and not room.is_dir():
        marks.append(pytest.mark.skip(reason=f"this version has no {page.stem} yet"))
    if not LONG and page.name not in QUICK:
        marks.append(pytest.mark.skip(reason="with --long"))
    return marks


def is_installed(package: str) -> bool:
    """Tell whether a package is there, without importing it."""
    command = [sys.executable, "-c", f"import importlib.util as u; u.find_spec({package!r}).name"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


FOLLOWED = [
    pytest.param(page, id=name(page), marks=marked(page))
    for page in PAGES
    if any(block.is_run for block in blocks(page))
]


class Reader:
    """Follows a page.

    Args:
        folder: An empty folder to do it in.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {port: str(free_port()) for port in PORTS}
        tools = folder.parent / "tools"
        tools.mkdir()
        # What a page would install is there already; `pip` looks whether it is.
        (tools / "pip").write_text(PIP.format(python=sys.executable))
        (tools / "pip").chmod(0o755)
        path = [str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]
        port = self._ports["8000"]
        self._env = {
            "PATH": os.pathsep.join(path),
            "PORT": port,
            "UVICORN_PORT": port,
            "GRANIAN_PORT": port,
            "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}",
            "PYTHONWARNINGS": "",
            "PYTEST_ADDOPTS": "",
            "COLUMNS": "120",
            "LINES": "50",
        }
        self.desk = Desk(folder, self._env)

    def text(self, block: Block) -> str:
        """Return what stands in the block, with ports that nobody else uses."""
        text = block.text
        for port, free in self._ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return text

    def write(self, block: Block) -> None:
        """Write a file of the page."""
        path = self._folder / str(block.title)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(block))

    def type(self, block: Block) -> None:
        """Do the steps of a console."""
        for step in steps(Block(**{**vars(block), "text": self.text(block)})):
            self.desk.do(step)

    def execute(self, block: Block, output: str) -> None:
        """Run a program of its own, which is to print `output`."""
        path = self._folder / f"block_{block.line}.py"
        path.write_text(self.text(block))
        done = subprocess.run(
            [sys.executable, path.name],
            cwd=self._folder,
            env={**os.environ, **self._env},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        shown = same(done.stdout + done.stderr)
        if done.returncode or not as_pattern(output.splitlines()).fullmatch(shown):
            message = f"line {block.line}, status {done.returncode}, printed:\n{shown}"
            raise PageError(message)


PIP = """#!{python}
import importlib.metadata, re, sys
for word in sys.argv[2:]:
    if not word.startswith("-"):
        importlib.metadata.version(re.split(r"[\\[<>=~;]", word)[0])
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_followed_word_for_word(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    reader = Reader(folder)
    on_page = blocks(page)
    with reader.desk.opened():
        for block, after in zip(on_page, [*on_page[1:], None], strict=True):
            if not block.is_run or (block.long and not LONG):
                continue
            try:
                if block.title is not None:
                    reader.write(block)
                elif block.language == "console":
                    if CLONE in block.text:
                        (folder / "asgi-mpclean").symlink_to(ROOT)
                    reader.type(block)
                else:
                    is_output = after is not None and after.follows and after.language == "text"
                    reader.execute(block, after.text if is_output and after else "")
            except PageError as error:
                pytest.fail(f"{name(page)}, line {block.line}: {error}", pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_block_of_a_page_is_run(page: Path) -> None:
    on_page = blocks(page)
    for place, block in enumerate(on_page):
        where = f"{name(page)}, line {block.line}"
        if block.title is not None:
            names = {block.title, Path(block.title).stem, *DRIVERS.get(block.title, ())}
            rest = "".join(later.text for later in on_page[place + 1 :])
            used = any(word in rest for word in names) or block.title in CHECKED
            assert used or block.reason, f"{where}: never used"
            check_syntax(block)
        else:
            allowed = block.language in {"python", "console", *PICTURES} or block.reason
            assert allowed, f"{where}: neither a file, nor a console, nor Python"
        if block.language == "console" and not block.reason:
            assert steps(block), where


CHECKED = {"pod.yaml"}
"""Files that no command on their page reads, but a test below."""

CLONE = "$ cd asgi-mpclean"
DRIVERS = {
    "Procfile": ("honcho start",),
    "conftest.py": ("$ pytest",),
    "gunicorn.conf.py": ("$ gunicorn ",),
    "pytest.ini": ("$ pytest",),
    "test_async.py": ("$ pytest",),
    "test_client.py": ("$ pytest",),
}
"""How files are used that need not be named."""


def check_syntax(block: Block) -> None:
    """Check what can be read by something of the standard library."""
    if block.language == "python":
        compile(block.text, str(block.title), "exec", dont_inherit=True)
    elif block.language == "json":
        json.loads(block.text)


def test_a_pod_has_time_to_end() -> None:
    page = ROOT / "docs" / "how-to" / "kubernetes.md"
    text = next(block.text for block in blocks(page) if block.title == "pod.yaml")
    pod = yaml.safe_load(text)["spec"]
    container = pod["containers"][0]
    _, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    *_, requests = container["command"]
    clean_up = re.search(r"mpclean_lifespan\(timeout=(\d+)\)", page.read_text())
    assert clean_up
    needed = int(seconds) + int(requests) + int(clean_up[1])
    assert needed < pod["terminationGracePeriodSeconds"]
