"""What can be done with the project, by name: `nox --list`, `nox -s lint`.

The Pythons are the classifiers of pyproject.toml.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|venv"
nox.options.sessions = ["lint", "types", "test"]
nox.needs_version = ">=2024.10"

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml("pyproject.toml")
# Free-threaded ones, which nox adds, are run by .ci/freethreaded.
PYTHONS = [name for name in nox.project.python_versions(PYPROJECT) if not name.endswith("t")]
SMOKE = ("tests/e2e", "-m", "smoke")
SHIPPED = ("tests", "examples", "benchmarks", "tools", "docs")
AT_ONCE = ("-n", "2")
# uvicorn before 0.48 skips the end of the lifespan there: see docs/reference/limits.md.
NOT_WITH_OLDEST = "tests/e2e/test_uvicorn_signals.py::test_stopped_before_it_serves"
NICEGUI_TESTS = "tests/e2e/test_nicegui.py"
NEEDS_NEWER = ("asgi-mpclean", "mcp", "sse-starlette")
"""What the tests can do without, and cannot be installed with the oldest of what is supported."""


def build(session: nox.Session, what: str) -> Path:
    """Build a wheel or an sdist, into a folder of the session, and return the file."""
    folder = Path(session.create_tmp(), "dist").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", f"--{what}", "--outdir", str(folder), str(ROOT))
    (file,) = folder.iterdir()
    return file


@nox.session(python=PYTHONS)
def test(session: nox.Session) -> None:
    """Run the tests, of this clone; words after -- are pytest's."""
    session.install("-e", ".[test]")
    session.run("pytest", *AT_ONCE, *session.posargs)


@nox.session(python=PYTHONS)
def smoke(session: nox.Session) -> None:
    """Run a few real servers."""
    session.install("-e", ".[test]")
    session.run("pytest", *AT_ONCE, *SMOKE, *session.posargs)


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Run the tests on the built wheel, away from the clone, as users get it."""
    session.install(f"asgi-mpclean[test] @ {build(session, 'wheel').as_uri()}")
    away = Path(session.create_tmp(), "away").resolve()
    shutil.rmtree(away, ignore_errors=True)
    for name in (*SHIPPED, "typing_tests"):
        shutil.copytree(ROOT / name, away / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", *(path.name for path in ROOT.glob("*.md"))):
        shutil.copy(ROOT / name, away)
    with session.chdir(away):
        session.run("pytest", *AT_ONCE, *session.posargs)


@nox.session
def sdist(session: nox.Session) -> None:
    """Build the sdist, unpack it, and have it pass by its own content."""
    file = build(session, "sdist")
    with tarfile.open(file) as archive:
        archive.extractall(file.parent, filter="data")
    with session.chdir(file.parent / file.name.removesuffix(".tar.gz")):
        session.install(".[test]")
        session.run("pytest", *AT_ONCE, *(session.posargs or SMOKE))


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """Run real servers with the oldest versions of what is supported."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    supported = (*project["dependencies"], *extras["examples"])
    pins = [f"{word.replace('>=', '==')}.*" for word in supported]
    others = [word for word in extras["test"] if not word.startswith(NEEDS_NEWER)]
    oldest_tests = (*SMOKE, f"--ignore={NICEGUI_TESTS}", f"--deselect={NOT_WITH_OLDEST}")
    # The oldest NiceGUI needs a newer Starlette than the oldest: it comes after the others.
    nicegui = [pin for pin in pins if pin.startswith("nicegui")]
    session.install("-e", ".[cli]", *(pin for pin in pins if pin not in nicegui), *others)
    session.run("pytest", *AT_ONCE, *(session.posargs or oldest_tests))
    session.install(*(pin for pin in pins if not pin.startswith("starlette")))
    session.run("pytest", *AT_ONCE, *(session.posargs or (NICEGUI_TESTS, "-m", "smoke")))


@nox.session(python=PYTHONS[-1])
def newest(session: nox.Session) -> None:
    """Run real servers with the newest versions there are, those before a release included."""
    session.install("--pre", "--upgrade", "-e", ".[test]")
    session.run("pytest", *AT_ONCE, *(session.posargs or SMOKE))


@nox.session
def lint(session: nox.Session) -> None:
    """Look at style and at the direction of imports."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports")
    session.run("python", ".ci/imports", f"{session.bin}/lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types by mypy and by pyright."""
    session.install("-e", ".[test]", *nox.project.dependency_groups(PYPROJECT, "typing"))
    session.run("mypy")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, "docs"))
    session.run("mkdocs", "build", "--strict", *session.posargs)
