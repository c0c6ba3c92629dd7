"""The way into the Python processes of a command, and what the program sees of it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from pythons import pythons, some

from asgi_mpclean._inject.environment import HOOKS, INSIDE, environment

HOOK = """
import os, sys
from _asgi_mpclean_inject import is_resource_tracker, when_imported

def say(*words):
    role = "tracker" if is_resource_tracker() else "process"
    with open(os.environ["TOLD"], "a") as file:
        file.write(" ".join(map(str, (role, *words))) + "\\n")

say("hook", hasattr(sys.modules["multiprocessing"], "Queue"))
when_imported("multiprocessing", lambda module: say("has", hasattr(module, "Queue")))
when_imported("multiprocessing.synchronize", lambda module: say("has", hasattr(module, "SemLock")))
"""

STARTS = """
import multiprocessing, os, subprocess, sys

def work():
    print(os.environ["PYTHONPATH"].count("inside"), "inside" in " ".join(sys.path))

if __name__ == "__main__":
    {}
"""

WAYS = {
    "spawn": "p = multiprocessing.get_context('spawn').Process(target=work); p.start(); p.join()",
    "fork": "p = multiprocessing.get_context('fork').Process(target=work); p.start(); p.join()",
    "forkserver": (
        "p = multiprocessing.get_context('forkserver').Process(target=work); p.start(); p.join()"
    ),
    "subprocess": "subprocess.run([sys.executable, __file__, 'again']) if sys.argv[1:] else None",
    "exec": "sys.argv[1:] or os.execv(sys.executable, [sys.executable, __file__, 'again'])",
}


@pytest.fixture(params=pythons(), ids=os.path.basename)
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Command:
    """A program with a hook, and what both say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen = folder / "seen"
        self.seen.mkdir()
        self.hook = folder / "hook.py"
        self.hook.write_text(HOOK)
        self.told = folder / "told"
        self.told.touch()
        self.stderr = ""

    def run(self, python: str, program: str, *words: str, **changed: str | None) -> list[str]:
        """Run a program; what it printed, by line, comes back."""
        path = self.folder / "program.py"
        path.write_text(textwrap.dedent(program))
        base = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        base |= {name: value for name, value in changed.items() if value is not None}
        env = environment(base, [str(self.hook)], seen=str(self.seen))
        done = subprocess.run(
            [python, *words, str(path)],
            env=env | {"TOLD": str(self.told)},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        self.stderr = done.stderr
        return done.stdout.splitlines()

    def said(self) -> list[str]:
        return self.told.read_text().splitlines()

    def pids(self) -> set[int]:
        return {int(entry.name.partition("-")[0]) for entry in self.seen.iterdir()}


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_nothing_is_loaded_until_multiprocessing_is(python: str, command: Command) -> None:
    printed = command.run(
        python,
        """
        import os, sys
        print(os.stat(os.environ["TOLD"]).st_size)
        import multiprocessing
        from multiprocessing import synchronize
        print(os.stat(os.environ["TOLD"]).st_size > 0)
        print(*[getattr(m.__loader__, "exec_module").__self__ is m.__loader__
                for m in (multiprocessing, synchronize)])
        print(any("asgi" in f.__module__ for f in sys.meta_path if hasattr(f, "__module__")))
        """,
    )
    assert printed[0] == "0"
    assert printed[1:] == ["True", "True True", "False"]
    assert command.said() == ["process hook False", "process has True", "process has True"]
    assert command.stderr == ""


@pytest.mark.parametrize("way", some(WAYS, "spawn", "exec"))
def test_every_process_is_reached(python: str, command: Command, way: str) -> None:
    program = STARTS.format(WAYS[way]).replace("__file__", "os.path.abspath(__file__)")
    if way == "subprocess":
        program = program.replace("if sys.argv[1:] else None", "if not sys.argv[1:] else work()")
    if way == "exec":
        program += "\n    work()\n"
    printed = command.run(python, program)
    assert printed == ["1 False"], command.stderr
    # By fork nothing is imported again.
    assert command.said().count("process hook False") == {"fork": 1, "forkserver": 2}.get(way, 2)
    assert command.stderr == ""


def test_the_resource_tracker_is_reached_and_told_apart(python: str, command: Command) -> None:
    command.run(python, "import multiprocessing; multiprocessing.get_context('spawn').Lock()")
    assert "tracker hook False" in command.said()
    assert len(command.pids()) == 2


OWN = "import sys; print('own', __name__, __file__, 'inside' in ' '.join(sys.path))"


def test_a_sitecustomize_of_the_program_s_own_runs_as_without(
    python: str, command: Command, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    path = own / "sitecustomize.py"
    path.write_text(OWN)
    printed = command.run(
        python,
        "import sys, sitecustomize; print(sys.modules['sitecustomize'].__file__, sys.path[1])",
        PYTHONPATH=str(own),
    )
    assert printed == [f"own sitecustomize {path} False", f"{path} {own}"]
    assert command.stderr == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise RuntimeError('own fault')", "RuntimeError: own fault"),
        ("import there_is_none", "No module named 'there_is_none'"),
    ],
)
def test_one_that_fails_fails_as_without(
    python: str, command: Command, tmp_path: Path, text: str, says: str
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text(text)
    env = {**os.environ, "PYTHONPATH": str(own)}
    without = subprocess.run(
        [python, "-c", ""], env=env, capture_output=True, text=True, timeout=20, check=False
    )
    assert command.run(python, "print('runs')", PYTHONPATH=str(own)) == ["runs"]
    assert command.stderr == without.stderr
    assert says in command.stderr


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_one_that_cannot_be_reached_runs_as_without_and_leaves_no_file(
    python: str, command: Command, flag: str
) -> None:
    assert command.run(python, "import multiprocessing; print('runs')", flag) == ["runs"]
    assert command.pids() == set()
    assert not command.said()


def test_a_hook_that_fails_is_said_and_left(python: str, command: Command) -> None:
    command.hook.write_text("raise OSError('broken hook')")
    assert command.run(python, "import multiprocessing; print('runs')") == ["runs"]
    assert re.search(r"^asgi-mpclean, in process \d+: .*hook.py.*broken hook", command.stderr)
    command.hook.write_text(
        "from _asgi_mpclean_inject import when_imported\n"
        "when_imported('multiprocessing', lambda module: 1 / 0)"
    )
    assert command.run(python, "import multiprocessing; print('runs')") == ["runs"]
    assert " failed on multiprocessing: ZeroDivisionError" in command.stderr


def test_a_hook_may_be_a_package(python: str, command: Command, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "part.py").write_text("NAME = __name__")
    (package / "__init__.py").write_text(
        "from .part import NAME\nimport os\nopen(os.environ['TOLD'], 'w').write(NAME)"
    )
    command.hook = package / "__init__.py"
    command.run(python, "import multiprocessing")
    assert command.said() == ["_asgi_mpclean_package.part"]


def test_a_module_that_is_imported_already_is_given_at_once(
    python: str, command: Command, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import multiprocessing.synchronize")
    command.run(python, "", PYTHONPATH=str(own))
    assert command.said() == ["process hook False", "process has True", "process has True"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, [INSIDE]),
        ("", [INSIDE]),
        ("/one:/two", [INSIDE, "/one", "/two"]),
        (f"/one:{INSIDE}", [INSIDE, "/one"]),
    ],
)
def test_the_folder_is_first_on_the_path_once(before: str | None, after: list[str]) -> None:
    base = {} if before is None else {"PYTHONPATH": before}
    env = environment(base, ["/hook.py"])
    assert env == {"PYTHONPATH": os.pathsep.join(after), HOOKS: "/hook.py"}
    assert environment(env, ["/hook.py", "/other.py"])[HOOKS] == "/hook.py:/other.py"
    assert base == ({} if before is None else {"PYTHONPATH": before})


def test_a_path_that_cannot_be_passed_on_is_named() -> None:
    with pytest.raises(ValueError, match=r"'/a:b/hook.py' cannot be passed on"):
        environment({}, ["/a:b/hook.py"])


def test_the_injected_files_import_nothing_but_the_standard_library() -> None:
    text = "".join(path.read_text() for path in Path(INSIDE).rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) <= {"sitecustomize", "_asgi_mpclean_inject"}


def test_the_first_file_is_plain_enough_for_old_pythons() -> None:
    assert ast.parse(Path(INSIDE, "sitecustomize.py").read_text(), feature_version=(3, 4))
