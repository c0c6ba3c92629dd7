"""`asgi-mpclean check`, as users call it: what it says, its exit status, and nothing left of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from asgi_mpclean._check.cli import run
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asgi_mpclean._check.outcome import Outcome

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm"),
    pytest.mark.timeout(120),
]

long = pytest.mark.skipif("MPC_LONG" not in os.environ, reason="--long")

UVICORN = "-- {python} -m uvicorn clean:app --port {{port}}"
ANSWER = """
import multiprocessing, os, signal, time
from asgi_mpclean import MPCleanLifespan, register
spawn = multiprocessing.get_context("spawn")

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/put":
        for number in range(7):
            queue.put(number)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
QUEUE = "queue = spawn.Queue()\n"
LAST = (ANSWER + QUEUE).count("\n")
WRAPPED = "app = MPCleanLifespan(app, timeout=2)\n"
APPS = {
    "clean": ANSWER + "queue = register(spawn.Queue(), name='jobs', on_item=print)\n" + WRAPPED,
    "leaks": ANSWER + QUEUE,
    "unregistered": ANSWER
    + """
class Shop:
    def __init__(self):
        self.jobs = spawn.Queue()
shop = Shop()
"""
    + WRAPPED,
    "hidden": ANSWER
    + """
def make():
    return spawn.Queue()
queue = make()
"""
    + WRAPPED,
    "drops": ANSWER + "queue = register(spawn.Queue(), name='jobs')\n" + WRAPPED,
    "fails": ANSWER + "queue = register(spawn.Queue(), name='jobs', on_item=len)\n" + WRAPPED,
    "blocks": ANSWER
    + "queue = register(spawn.Queue(), name='jobs', on_item=lambda _: time.sleep(600))\n"
    + WRAPPED,
    "noisy": ANSWER
    + WRAPPED
    + """
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
worker.start()
""",
    "orphan": ANSWER
    + """
if multiprocessing.parent_process() is None and os.fork() == 0:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    time.sleep(600)
    os._exit(0)
""",
    "hangs": ANSWER
    + """
import atexit, threading
threading.Thread(target=lambda: time.sleep(600)).start()
""",
    "grumbles": ANSWER
    + WRAPPED
    + """
print("ImportError: something that this app can do without", flush=True)
time.sleep(1)
""",
    "raises": ANSWER + WRAPPED + "import atexit\natexit.register(lambda: 1 / 0)\n",
    "broken": "import nothing_of_that_name\n",
    "silent": "import time\ntime.sleep(600)\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all the apps."""
    for name, code in APPS.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "app.py").write_text("from .inside import app\n")
    (tmp_path / "package" / "inside.py").write_text(APPS["clean"])
    return tmp_path


def check(folder: Path, *words: str, stop: int | None = None) -> Outcome:
    """Run the command; it must leave nothing, whatever its servers do."""
    with Server(sys.executable, "-m", "asgi_mpclean", "check", *words, cwd=folder) as command:
        if stop is not None:
            # "silent:app" alone is in the words of `check` too, which may not have begun yet.
            assert eventually(lambda: "-m uvicorn silent:app" in str(command.descendants()), 20)
            command.signal(stop)
        outcome = command.finish(100)
    assert not outcome.hung, outcome.output
    assert not outcome.left, outcome.output
    assert not outcome.orphans, outcome.output
    return outcome


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("clean:app", 0, ["uvicorn, CTRL-C", "uvicorn, SIGTERM", "Queue jobs"]),
        ("clean.py --signal int-twice", 0, ["CTRL-C twice", "clean"]),
        ("package/app.py --signal int", 0, ["clean"]),
        ("clean:app --signal int --compare --html page.html", 0, ["with", "without"]),
        ("clean:app --signal int --html /dev/full", 2, ["/dev/full cannot be written: No space"]),
        ("clean:app --signal reload", 0, ["uvicorn --reload, change, CTRL-C"]),
        ("clean:app --signal term --workers 2", 0, ["uvicorn --workers 2, SIGTERM"]),
        # CTRL-C goes to the group, and is a second signal for granian's worker: README, limits.
        ("clean:app --server granian --server daphne --signal term", 0, ["granian", "daphne"]),
        ("grumbles:app --signal int", 0, ["uvicorn, CTRL-C"]),
        ("unregistered:app --signal term", 0, ["Queue unregistered.shop.jobs"]),
        ("leaks:app --signal term", 1, ["3 semaphores leaked", "Wrap the app"]),
        ("leaks:app --signal term --trace", 1, [f"3 semaphores leaked: Queue at leaks.py:{LAST}"]),
        pytest.param(
            "hidden:app --signal term --trace --request GET /put",
            1,
            [f"7 items dropped: Queue at hidden.py:{LAST + 2}"],
            marks=long,
        ),
        ("orphan:app --signal term", 1, ["orphan: ", "done nothing in this app"]),
        ("drops:app --signal int --request GET /put", 1, ["7 items dropped: jobs", "on_item"]),
        ("fails:app --signal int --request GET /put", 1, ["7 items failed: jobs", "has no len()"]),
        ("blocks:app --signal int --request GET /put", 1, ["7 items dropped", "no time left"]),
        ("noisy:app --signal int", 1, ["1 traceback\n", "initializer=worker_init"]),
        ("raises:app --signal int", 1, ["1 traceback\n", "ZeroDivisionError"]),
        ("hangs:app --signal int --timeout 2", 1, ["hangs: killed 2 s"]),
        (f"--signal int {UVICORN}", 0, ["clean"]),
    ],
)
@pytest.mark.sampled(4)
def test_what_it_says_of_an_app(folder: Path, words: str, status: int, said: list[str]) -> None:
    outcome = check(folder, *words.format(python=sys.executable).split())
    assert outcome.status == status, outcome.output
    for text in said:
        assert text in outcome.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "give either APP, or a command line"),
        ("clean:app -- true", "give either APP, or a command line"),
        ("--reload -- true", "go with APP"),
        ("nowhere:app", "there is no module 'nowhere'"),
        ("nowhere.py:app", "there is no file nowhere.py"),
        (":app", "APP must be module:app"),
        ("clean:app --port {used}", "port {used} cannot be used"),
        ("clean:app --server apache", "server must be one of"),
        ("clean:app --server daphne --workers 2", "daphne has no --workers"),
        ("clean:app --server daphne --signal reload", "daphne has no --reload"),
        ("clean:app --signal int,kill", "'kill' is none of int, term"),
        ("clean:app --timeout 0", "0.0 is not in the"),
        ("clean:app --repeat 0", "0 is not in the range"),
        ("clean:app --touch nowhere", "'nowhere' does not exist"),
        ("clean:app --html nowhere/page.html", "there is no folder nowhere"),
        ("-- no-such-program", "there is no program 'no-such-program'"),
        ("--signal reload -- true", "with --touch"),
    ],
)
def test_wrong_use_starts_nothing(
    folder: Path,
    words: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    with listening() as used:
        status = run(["check", *words.format(used=used).split()])
    assert status == 2
    assert said.format(used=used) in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("broken:app", "the app cannot be imported"),
        ("clean:nothing --reload", "the app cannot be imported"),
        ("silent:app --start-timeout 2", "it did not answer in 2 s"),
        ("clean:app --signal int --request GET nowhere", "GET nowhere "),
        ("-- false", "it ended at once, with exit status 1"),
        ("--start-timeout 2 -- sleep 60", "it did not answer in 2 s"),
        ("-- grep in told.txt", "the port is in use"),
        (
            f"--signal reload --touch clean.py --start-timeout 2 {UVICORN}",
            "clean.py was changed, but nothing was reloaded in 2 s",
        ),
    ],
)
@pytest.mark.sampled(4)
def test_what_does_not_serve_is_told_and_ended(folder: Path, words: str, said: str) -> None:
    (folder / "told.txt").write_text("[Errno 98] Address already in use")
    outcome = check(folder, *words.format(python=sys.executable).split())
    assert outcome.status == 2, outcome.output
    assert said in " ".join(outcome.output.split())


@contextlib.contextmanager
def listening() -> Iterator[int]:
    """Have a port in use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_itself_it_leaves_no_server(folder: Path, stop: signal.Signals) -> None:
    outcome = check(folder, "--start-timeout", "90", "silent:app", stop=stop)
    assert outcome.status == 128 + stop


def test_compare_repeat_json_and_page(folder: Path) -> None:
    words = "leaks:app --signal term --compare --repeat 2 --json --html page.html"
    outcome = check(folder, *words.split())
    assert outcome.status == 1
    found = json.loads(outcome.output[outcome.output.index("{") :])
    assert [one["library"] for one in found["runs"]] == [True, False] * 2
    for one in found["runs"]:
        assert one["leaked"] == {"semaphore": 3}
        assert one["status"] == -signal.SIGTERM
        assert one["verdict"] == "not clean"
        assert one["command"][1:4] == ["-m", "uvicorn", "leaks:app"]
    page = (folder / "page.html").read_text()
    assert page.count("3 semaphores leaked") == 2
    assert "http" not in page.split("<pre>")[0]  # It loads nothing.


def test_switched_off_the_library_does_nothing(folder: Path) -> None:
    words = "clean:app --signal term --compare --json --request GET /put"
    outcome = check(folder, *words.split())
    assert outcome.status == 0
    with_it, without = json.loads(outcome.output[outcome.output.index("{") :])["runs"]
    assert (with_it["verdict"], with_it["delivered"]) == ("clean", 7)
    assert (without["leaked"], without["delivered"]) == ({"semaphore": 3}, 0)


@pytest.mark.parametrize("missing", ["click", "psutil", "rich"])
def test_without_the_extra_it_says_how_to_install_it(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = ['check', 'x:app']\n"
    code += "from asgi_mpclean.__main__ import main; sys.exit(main())"
    with Server(sys.executable, "-c", code) as command:
        outcome = command.finish()
    assert outcome.status == 2
    assert outcome.output == f"asgi-mpclean needs {missing}: pip install 'asgi-mpclean[cli]'\n"
