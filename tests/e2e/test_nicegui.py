"""NiceGUI in all the ways to run it, stopped by real signals."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asgi_mpclean._check.server import Server
from asgi_mpclean._check.stops import terminate

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgi_mpclean._check.outcome import Outcome

    Stop = Callable[[Server], None]

APPS = Path(__file__).parent / "apps"
LIBRARY = Path(__file__).parents[2]
SOON = 4.0
LEAK = re.compile(r"There appear to be \d+ leaked semaphore")
# By this variable NiceGUI takes a server for one of its own tests, and does not serve.
COMMAND = ("env", "-u", "PYTEST_CURRENT_TEST")
NICEGUI_2_15 = ["nicegui==2.15.*", "fastapi==0.115.*", "uvicorn[standard]==0.34.*"]

# Importing NiceGUI takes seconds on a busy machine, and installing 2.15 takes a minute.
pytestmark = pytest.mark.timeout(300)


def ctrl_c(server: Server) -> None:
    """Press CTRL-C."""
    server.interrupt()


stopped_by = pytest.mark.parametrize("stop", [ctrl_c, terminate])


def items(outcome: Outcome) -> list[int]:
    """Return the items that reached `on_item`, in order."""
    return [int(number) for number in re.findall(r"^item (\d+)$", outcome.output, re.MULTILINE)]


def faults(outcome: Outcome) -> list[str]:
    """Return the faults, less the KeyboardInterrupt that NiceGUI itself lets through."""
    own = re.search(r"^KeyboardInterrupt$", outcome.output, re.MULTILINE) is not None
    return dataclasses.replace(outcome, tracebacks=0 if own else outcome.tracebacks).faults


def change(file: Path) -> None:
    """Save the file again, changed."""
    file.write_text(file.read_text() + "\n")


def run_app(name: str, folder: Path, *, reload: bool = False, library: bool = True) -> Server:
    """Prepare a copy of an app, in a folder where it can be changed, as `python app.py` runs it."""
    shutil.copy(APPS / name, folder)
    env = {"APP_RELOAD": "1"} if reload else {}
    return Server(*COMMAND, sys.executable, name, cwd=folder, env=env, library=library)


@pytest.mark.parametrize("stop", [pytest.param(ctrl_c, marks=pytest.mark.smoke), terminate])
@pytest.mark.parametrize("reload", [False, True], ids=["plain", "reload"])
@pytest.mark.sampled(2)
def test_run_delivers_the_backlog_and_leaves_nothing(
    tmp_path: Path, stop: Stop, *, reload: bool
) -> None:
    with run_app("nicegui_page.py", tmp_path, reload=reload) as server:
        server.wait_until_ready()
        server.request("/put/0/300")
        stop(server)
        outcome = server.finish()
    assert faults(outcome) == [], outcome.output
    assert items(outcome) == list(range(300))
    assert outcome.seconds < SOON


@stopped_by
@pytest.mark.parametrize("reload", [False, True], ids=["plain", "reload"])
@pytest.mark.sampled(3)
def test_run_ends_with_the_status_of_nicegui_alone(
    tmp_path: Path, stop: Stop, *, reload: bool
) -> None:
    ends = []
    for library in (True, False):
        with run_app("nicegui_page.py", tmp_path, reload=reload, library=library) as server:
            server.wait_until_ready()
            stop(server)
            outcome = server.finish()
            ends.append((outcome.status, outcome.tracebacks))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("reload", "stop"), [(False, terminate), (True, ctrl_c), (True, terminate)]
)
def test_run_without_the_library_leaks(tmp_path: Path, stop: Stop, *, reload: bool) -> None:
    with run_app("nicegui_page.py", tmp_path, reload=reload, library=False) as server:
        server.wait_until_ready()
        stop(server)
        outcome = server.finish()
    assert LEAK.search(outcome.output)


def stop_after_a_change(server: Server, app: Path) -> Outcome:
    """Put items in before and after a reload, then stop the server."""
    server.wait_for_text("started")
    server.wait_until_ready()
    server.request("/put/0/200")
    server.wait_until_watched(app.parent)
    change(app)
    server.wait_for_text("started", count=2)
    server.wait_until_ready()
    server.request("/put/200/300")
    server.interrupt()
    return server.finish()


def test_reload_after_a_change_delivers_what_either_process_had(tmp_path: Path) -> None:
    with run_app("nicegui_page.py", tmp_path, reload=True) as server:
        outcome = stop_after_a_change(server, tmp_path / "nicegui_page.py")
    assert outcome.faults == [], outcome.output
    assert items(outcome) == list(range(300))


def run_with(folder: Path, *, library: bool = True) -> Server:
    """Prepare `uvicorn --reload` with NiceGUI mounted in a FastAPI app."""
    shutil.copy(APPS / "nicegui_with.py", folder)
    command = [*COMMAND, sys.executable, "-m", "uvicorn", "nicegui_with:api", "--reload"]
    return Server(*command, "--port", "{port}", cwd=folder, library=library)


@stopped_by
def test_run_with_under_reload_leaves_nothing(tmp_path: Path, stop: Stop) -> None:
    with run_with(tmp_path) as server:
        server.wait_until_ready()
        server.request("/put/0/300")
        stop(server)
        outcome = server.finish()
    assert outcome.faults == [], outcome.output
    assert items(outcome) == list(range(300))
    assert outcome.seconds < SOON


def test_run_with_after_a_change_delivers_what_either_process_had(tmp_path: Path) -> None:
    with run_with(tmp_path) as server:
        outcome = stop_after_a_change(server, tmp_path / "nicegui_with.py")
    assert outcome.faults == [], outcome.output
    assert items(outcome) == list(range(300))


def test_run_with_without_the_library_leaks(tmp_path: Path) -> None:
    with run_with(tmp_path, library=False) as server:
        server.wait_until_ready()
        server.signal(signal.SIGTERM)
        outcome = server.finish()
    assert LEAK.search(outcome.output)


@stopped_by
def test_script_mode_survives_being_executed_for_each_client(tmp_path: Path, stop: Stop) -> None:
    with run_app("nicegui_script.py", tmp_path) as server:
        server.wait_until_ready()
        for _ in range(2):
            assert "ready" in server.request("/")
        stop(server)
        outcome = server.finish()
    executions = outcome.output.count("executed\n")
    assert executions >= 1 + 2
    assert faults(outcome) == [], outcome.output
    assert sorted(items(outcome)) == sorted(list(range(10)) * executions)
    assert outcome.seconds < SOON


def test_script_mode_without_the_library_leaks(tmp_path: Path) -> None:
    with run_app("nicegui_script.py", tmp_path, library=False) as server:
        server.wait_until_ready()
        server.signal(signal.SIGTERM)
        outcome = server.finish()
    assert LEAK.search(outcome.output)


@pytest.fixture(scope="session")
def python_2_15(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a Python that has NiceGUI 2.15: named in the environment, or made here."""
    if given := os.environ.get("MPC_NICEGUI215_PYTHON"):
        return given
    if "MPC_LONG" not in os.environ:
        pytest.skip("an environment of its own takes a minute to make: --long")
    folder = tmp_path_factory.mktemp("nicegui-2.15")
    try:
        venv.create(folder, with_pip=True)
    except (subprocess.CalledProcessError, SystemExit):  # As Debian patches it.
        pytest.skip("this Python has no ensurepip, which making an environment needs")
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", *NICEGUI_2_15]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"NiceGUI 2.15 cannot be installed here: {installed.stderr[-300:]}")
    return python


def from_source(*, reload: bool = False) -> dict[str, str]:
    """Return the environment in which a Python without the library finds it."""
    return {"PYTHONPATH": str(LIBRARY), **({"APP_RELOAD": "1"} if reload else {})}


def run_bare_2_15(python: str, folder: Path, *, library: bool = True) -> Server:
    """Prepare `uvicorn --reload` with an app that has no queues but those of NiceGUI 2.15."""
    shutil.copy(APPS / "nicegui_bare.py", folder)
    command = [*COMMAND, python, "-m", "uvicorn", "nicegui_bare:api", "--reload"]
    return Server(*command, "--port", "{port}", cwd=folder, env=from_source(), library=library)


@stopped_by
def test_2_15_leaves_nothing_of_its_own_queues(
    tmp_path: Path, python_2_15: str, stop: Stop
) -> None:
    with run_bare_2_15(python_2_15, tmp_path) as server:
        server.wait_until_ready()
        stop(server)
        outcome = server.finish()
    assert outcome.faults == [], outcome.output
    assert outcome.seconds < SOON


def test_2_15_after_a_change_leaves_nothing(tmp_path: Path, python_2_15: str) -> None:
    with run_bare_2_15(python_2_15, tmp_path) as server:
        server.wait_until_ready()
        server.wait_until_watched(tmp_path)
        change(tmp_path / "nicegui_bare.py")
        server.wait_for_text("Application startup complete", count=2)
        server.wait_until_ready()
        server.interrupt()
        outcome = server.finish()
    assert outcome.faults == [], outcome.output


@stopped_by
def test_2_15_without_the_library_leaks_six(tmp_path: Path, python_2_15: str, stop: Stop) -> None:
    with run_bare_2_15(python_2_15, tmp_path, library=False) as server:
        server.wait_until_ready()
        stop(server)
        outcome = server.finish()
    assert "There appear to be 6 leaked semaphore" in outcome.output


@stopped_by
@pytest.mark.parametrize("reload", [False, True], ids=["plain", "reload"])
def test_2_15_run_delivers_the_backlog(
    tmp_path: Path, python_2_15: str, stop: Stop, *, reload: bool
) -> None:
    shutil.copy(APPS / "nicegui_page.py", tmp_path)
    command = [*COMMAND, python_2_15, "nicegui_page.py"]
    with Server(*command, cwd=tmp_path, env=from_source(reload=reload)) as server:
        server.wait_until_ready()
        server.request("/put/0/300")
        stop(server)
        outcome = server.finish()
    assert faults(outcome) == [], outcome.output
    assert items(outcome) == list(range(300))


@pytest.fixture(params=["starting", "Application startup complete"])
def moment(request: pytest.FixtureRequest) -> str:
    """What the server prints when it is stopped, in the start-up of the app or after it.

    It has not started up itself then, and uvicorn 0.34 leaves without a word to the lifespan.
    """
    return str(request.param)


def stop_before_it_serves(python: str, moment: str, *, library: bool = True) -> Outcome:
    """Start an app with a queue that nobody registered, and send SIGTERM at once."""
    command = python, "-m", "uvicorn", "startup_window:app", "--port", "{port}"
    with Server(*command, cwd=APPS, env=from_source(), library=library) as server:
        server.wait_for_text(moment)
        server.signal(signal.SIGTERM)
        return server.finish()


def test_uvicorn_0_34_stopped_before_it_serves(python_2_15: str, moment: str) -> None:
    outcome = stop_before_it_serves(python_2_15, moment)
    assert outcome.faults == [], outcome.output
    assert outcome.status == -signal.SIGTERM
    assert outcome.seconds < SOON
    assert "Finished server process" not in outcome.output, "it has served, and proves nothing"


def test_uvicorn_0_34_stopped_before_it_serves_leaks_without_the_library(
    python_2_15: str, moment: str
) -> None:
    outcome = stop_before_it_serves(python_2_15, moment, library=False)
    assert outcome.status == -signal.SIGTERM
    assert "There appear to be 3 leaked semaphore" in outcome.output
