"""Programs that run themselves again, started in each way that Python can be started in."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from asgi_mpclean._check.processes import adopt_orphans

NEXT = Path(__file__).with_name("next_image.py")

# Runs three times. All runs must say the same of themselves, and deliver the items of their own.
PROGRAM = f"""
import multiprocessing, os, sys
sys.path.append({str(NEXT.parent)!r})
import next_image
traces = next_image.traces()  # Before ours is there: it imports much.
import asgi_mpclean

if __name__ == "__main__":
    start = int(os.environ.get("START", "0"))
    print("argv", sys.argv[1:], sys.flags.optimize, sys.prefix == {sys.prefix!r}, flush=True)
    print("cwd", os.path.basename(os.getcwd()), traces, flush=True)
    if start < 2:
        os.environ["START"] = str(start + 1)
        queue = multiprocessing.get_context("spawn").Queue()
        asgi_mpclean.register(queue, on_item=lambda item: print("item", item, flush=True))
        queue.put(start)
        os.chdir("/")
        asgi_mpclean.restart(via=os.environ["VIA"])
        print("not reached")
"""
# What PyInstaller does: the program is the interpreter; and a process that is not to use what has
# been unpacked for its parent is told so. The tracker needs a real interpreter.
FREEZER = """
import multiprocessing.spawn, os, sys
sys.frozen, sys.executable = True, __file__
unpack = "1" if "START" in os.environ and os.environ["VIA"] == "spawn" else None
assert os.environ.get("PYINSTALLER_RESET_ENVIRONMENT") == unpack
"""
ARGUMENTS = ["-x", "two words", "--multiprocessing"]


def run(command: list[str], folder: Path, via: str = "exec") -> list[str]:
    """Return what is printed by a program and those that follow it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "VIA": via, "PATH": path, "TMPDIR": str(folder)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


def expected(folder: Path, *, optimize: int = 0, arguments: list[str] | None = None) -> list[str]:
    arguments = ARGUMENTS if arguments is None else arguments
    once = [f"argv {arguments} {optimize} True", f"cwd {folder.name} []"]
    return [*once, "item 0", *once, "item 1", *once]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the program as a script, a package, an archive and an executable."""
    (tmp_path / "prog.py").write_text(PROGRAM)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    with zipfile.ZipFile(tmp_path / "prog.pyz", "w") as archive:
        archive.writestr("__main__.py", PROGRAM)
    executable = tmp_path / "prog"
    executable.write_text(f"#!{sys.executable}\n{PROGRAM}")
    executable.chmod(0o755)
    (tmp_path / "frozen").write_text(f"#!{sys.executable}\n{FREEZER}\n{PROGRAM}")
    (tmp_path / "frozen").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("via", ["exec", "spawn"])
@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "prog.py"],
        [sys.executable, "-m", "package"],
        [sys.executable, "-c", PROGRAM],
        [sys.executable, "prog.pyz"],
        ["python", "prog.py"],
        ["./prog"],
        ["./frozen"],
    ],
    ids=["script", "-m", "-c", "archive", "by name", "executable", "frozen"],
)
def test_it_runs_again_as_it_was_started(command: list[str], via: str, folder: Path) -> None:
    if command == ["./frozen"]:
        command = [str(folder / "frozen")]
    assert run([*command, *ARGUMENTS], folder, via) == expected(folder)


def test_options_of_the_interpreter_are_kept(folder: Path) -> None:
    assert run([sys.executable, "-O", "-Xdev", "-Wignore", "prog.py"], folder) == expected(
        folder, optimize=1, arguments=[]
    )


IN_WORKER = """
import multiprocessing, os, sys, asgi_mpclean
def tried():
    try: asgi_mpclean.restart()
    except RuntimeError as error: print(error, flush=True)
"""


@pytest.mark.parametrize(
    "start",
    [
        "p = multiprocessing.get_context('fork').Process(target=tried); p.start(); p.join()",
        "if os.fork() == 0: tried(); os._exit(0)\nos.wait()",
    ],
    ids=["Process", "os.fork"],
)
def test_a_worker_is_told_that_it_cannot(start: str, tmp_path: Path) -> None:
    lines = run([sys.executable, "-Wignore", "-c", IN_WORKER + start], tmp_path)
    assert lines == ["cannot restart a worker process; restart its supervisor, or end this one"]


def test_a_daemon_that_has_left_its_parent_can(tmp_path: Path) -> None:
    """It was forked as well, and who adopts it, here a Python, does not start it again."""
    adopt_orphans()
    code = """
import os, sys, asgi_mpclean
if "AGAIN" in os.environ: print("again", flush=True); sys.exit()
os.environ["AGAIN"] = "1"
parent = os.getpid()
if os.fork(): os._exit(0)
while os.getppid() == parent: pass
asgi_mpclean.restart()
"""
    assert run([sys.executable, "-Wignore", "-c", code], tmp_path) == ["again"]


@pytest.mark.parametrize("via", ["fork", "", None])
def test_any_other_way_is_refused(via: str, tmp_path: Path) -> None:
    code = f"import asgi_mpclean\ntry: asgi_mpclean.restart(via={via!r})\n"
    code += "except ValueError as error: print(error)"
    lines = run([sys.executable, "-c", code], tmp_path)
    assert lines == [f"via must be 'exec' or 'spawn', not {via!r}"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("sys.executable = ''", "RuntimeError cannot restart: this Python does not know"),
        ("sys.orig_argv = []", "RuntimeError cannot restart: this Python does not know"),
        ("sys.executable = '/gone/python'", "FileNotFoundError [Errno 2] No such file"),
    ],
)
def test_without_a_program_to_run_nothing_is_cleaned(
    change: str, error: str, tmp_path: Path
) -> None:
    code = f"""
import multiprocessing, sys, asgi_mpclean
queue = asgi_mpclean.register(multiprocessing.get_context("spawn").Queue(), on_item=print)
{change}
try: asgi_mpclean.restart()
except Exception as error: print(type(error).__name__, error)
print(len(asgi_mpclean.default_registry))
"""
    first, second = run([sys.executable, "-c", code], tmp_path)
    assert first.startswith(error)
    assert second == "1"


# What hypercorn and granian do: a signal handler of the loop tells them to stop.
SERVER = """
import asyncio, atexit, os, signal, sys, asgi_mpclean

async def lifespan_only(scope, receive, send):
    await receive(); await send({"type": "lifespan.startup.complete"})
    await receive(); await send({"type": "lifespan.shutdown.complete"})

async def serve(app):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    received, sent = asyncio.Queue(), asyncio.Queue()
    app = asyncio.ensure_future(app({"type": "lifespan", "asgi": {}}, received.get, sent.put))
    received.put_nowait({"type": "lifespan.startup"})
    await sent.get()
    print("serving", flush=True)
    if "AGAIN" in os.environ: return
    os.environ["AGAIN"] = "1"
    asgi_mpclean.restart()
    if os.fork() == 0:  # Ends as a child, and begins nothing.
        atexit._run_exitfuncs()
        os._exit(0)
    os.wait()
    await stop.wait()
    print("told to stop", flush=True)
    received.put_nowait({"type": "lifespan.shutdown"})
    await sent.get()

asyncio.run(serve(asgi_mpclean.MPCleanLifespan(lifespan_only)))
print("returned", flush=True)
"""


def test_a_server_that_has_no_flag_is_told_by_a_signal(tmp_path: Path) -> None:
    lines = run([sys.executable, "-Wignore", "-c", SERVER], tmp_path)
    assert [line for line in lines if line in {"serving", "told to stop", "returned"}] == [
        "serving",
        "told to stop",
        "returned",
        "serving",
        "returned",
    ]
