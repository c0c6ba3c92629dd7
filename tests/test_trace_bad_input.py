"""What `asgi-mpclean trace` is not made for: it says so, and the program runs as without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pythons import LONG, pythons, some
from traces import TRACE, Traced, traced, written

from asgi_mpclean._check.shm import can_unshare
from asgi_mpclean._trace.reading import read

if TYPE_CHECKING:
    from pathlib import Path

LEAK = (
    "import multiprocessing, os; queue = multiprocessing.get_context('spawn').Queue(); os._exit(6)"
)


@pytest.fixture(params=pythons(), ids=os.path.basename)
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def said(run: Traced) -> str:
    assert run.report["leaks"] == []
    (text,) = run.report["unknown"]
    return str(text)


# A command that no Python process of can be reached; its exit status, and what is said.
UNREACHED: dict[str, tuple[list[str], int, str]] = {
    "no Python": (["sh", "-c", "exit 3"], 3, "sh is no Python program, or a frozen one"),
    "-I": (["PYTHON", "-I", "-c", LEAK], 6, "reached: -I keeps it from"),
    "-E": (["PYTHON", "-B", "-E", "-c", LEAK], 6, "reached: -E keeps it from"),
    "-S": (["PYTHON", "-bS", "-c", LEAK], 6, "reached: -S keeps it from"),
    "cleared": (["env", "-i", "PYTHON", "-c", LEAK], 6, "without the environment"),
    "frozen": (["./frozen"], 6, "./frozen is no Python program, or a frozen one"),
}


@pytest.mark.parametrize("name", some(UNREACHED, "no Python", "-I", "cleared"))
def test_what_cannot_be_reached_is_said(python: str, tmp_path: Path, name: str) -> None:
    words, status, text = UNREACHED[name]
    # What freezes a program has Python ignore the environment and its site packages.
    frozen = tmp_path / "frozen"
    frozen.write_text(f'#!/bin/sh\nexec {python} -IS -c "{LEAK}"\n')
    frozen.chmod(0o755)
    command = [python if word == "PYTHON" else word for word in words]
    run = traced(command, folder=tmp_path)
    assert run.status == status
    assert text in said(run)


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        ([], 2, "give the command after --"),
        (["no-such-program"], 127, "no-such-program is not found"),
        (["/etc/passwd"], 126, "/etc/passwd cannot be started: Permission denied"),
        (["/"], 126, "/ cannot be started: Permission denied"),
    ],
)
def test_what_cannot_be_started_is_said(
    tmp_path: Path, command: list[str], status: int, text: str
) -> None:
    run = traced(command, folder=tmp_path)
    assert run.status == status
    assert text in run.stderr


@pytest.mark.parametrize(("text", "status"), [("pass", 0), ("import os; os._exit(9)", 9)])
def test_one_that_exits_at_once_is_clean(
    python: str, tmp_path: Path, text: str, status: int
) -> None:
    run = traced([python, "-c", text], folder=tmp_path)
    assert (run.status, run.report["clean"], run.report["unknown"]) == (status, True, [])
    assert run.report["processes"] == 1


def test_a_child_that_is_not_reached_is_said_with_its_line(python: str, tmp_path: Path) -> None:
    program = """
    import multiprocessing, subprocess, sys
    subprocess.run([sys.executable, "-E", "-c", "pass"])
    subprocess.run([sys.executable, "-c", "pass"], env={})
    subprocess.run([sys.executable, "-c", "pass"])
    """
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    first, second = run.report["unknown"]
    assert re.search(r"app.py:2: .* was not reached .*: -E keeps it from", first)
    assert re.search(r"app.py:3: .* was not reached .*without the environment", second)


def test_a_tracker_that_is_not_reached_is_said(python: str, tmp_path: Path) -> None:
    program = """
    import multiprocessing, os
    del os.environ["PYTHONPATH"]
    queue = multiprocessing.get_context("spawn").Queue()
    os._exit(6)
    """
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    assert run.report["unknown"][0].startswith("the resource tracker was not reached")


def test_a_sitecustomize_of_the_program_s_own_runs(python: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import multiprocessing.queues; print('own')")
    run = traced([python, "-c", LEAK], folder=tmp_path, env={"PYTHONPATH": str(own)})
    assert run.stdout.startswith("own\n")
    assert run.leaks == {"<string>:1": "1 Queue 3"}


needs_mounts = pytest.mark.skipif(not can_unshare(), reason="only root may mount")
MOUNTED = 'mount -t tmpfs -o size={size}{how} none "$0" && cd /proc && TMPDIR=$0 exec "$@"'


def mounted(folder: Path, size: str, how: str = "") -> tuple[str, ...]:
    """Return the words before a command that has a small file system as its temporary folder."""
    script = MOUNTED.format(size=size, how=how)
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(folder))


# Where a folder is read-only, tempfile takes another: here it has that one only.
WITH_FOLDER = """
import sys, tempfile
tempfile.tempdir = sys.argv.pop(1)
from asgi_mpclean.__main__ import main
sys.exit(main())
"""


@needs_mounts
@pytest.mark.parametrize(
    ("size", "how", "text"),
    [("1m", ",ro", "Read-only file system"), ("16k", "", "No space left on device")],
)
def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(
    tmp_path: Path, size: str, how: str, text: str
) -> None:
    run = traced(
        [sys.executable, "-c", "print('ran')"],
        folder=tmp_path,
        before=mounted(tmp_path, size, how),
        trace=(sys.executable, "-c", WITH_FOLDER, str(tmp_path), "trace"),
    )
    assert run.status == 2
    assert "record" in run.stderr
    assert text in run.stderr
    assert not run.stdout


@needs_mounts
def test_a_folder_that_fills_up_is_said_afterwards(python: str, tmp_path: Path) -> None:
    program = """
    import multiprocessing, os
    spawn = multiprocessing.get_context("spawn")
    first = spawn.Lock()
    try:
        with open(os.environ["TMPDIR"] + "/filler", "wb", 0) as filler:
            while True:
                filler.write(b"." * 1024)
    except OSError:
        pass
    later = [spawn.Queue() for _ in range(500)]
    os._exit(6)
    """
    program_path = written(tmp_path, program)
    folder = tmp_path / "small"
    folder.mkdir()
    run = traced([python, program_path], folder=tmp_path, before=mounted(folder, "256k"))
    assert run.status == 6
    unknown = "\n".join(run.report["unknown"])
    assert "cannot be written any more: No space left on device" in unknown
    assert re.search(r"process \d+ could not write its records: No space left", unknown)
    assert not run.report["leaks"]  # The tracker could not write them either.


def test_a_process_that_is_killed_in_the_middle_of_it_leaves_what_it_had(
    python: str, tmp_path: Path
) -> None:
    program = """
    import multiprocessing, os, threading, time
    spawn = multiprocessing.get_context("spawn")
    made = []
    threading.Timer(0.3, lambda: os.kill(os.getpid(), 9)).start()
    while True:
        made.append(spawn.Queue())
    """
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    assert run.status == -9
    known = [leak for leak in run.report["leaks"] if leak["site"]]
    assert [leak["site"] for leak in known] == ["app.py:6"]
    assert known[0]["processes"][0]["ended"] == "killed by SIGKILL"


WHOLE = (
    "process\t7\t1\t5\t3.12.1\t/usr/bin/python\tpython app.py\t.\n"
    "site\t7\t1\t/app.py\t12\t<module>\t.\n"
    "origin\t7\t2\t1\tQueue\t1\tMainThread\t.\n"
    "leave\t7\t3\t1\t.\n"
)


def test_a_record_that_is_cut_anywhere_is_counted_and_never_believed(tmp_path: Path) -> None:
    path = tmp_path / "7-5.trace"
    for length in range(len(WHOLE) + 1):
        path.write_text(WHOLE[:length])
        process = read(str(tmp_path)).processes[0]
        lines = WHOLE[:length].count("\n")
        whole = WHOLE[:length].endswith("\t.") + lines
        assert process.torn == (length > 0 and not WHOLE[:length].endswith(("\n", "\t.")))
        assert process.command == ("python app.py" if whole >= 1 else "")
        assert [origin.kind for origin in process.origins.values()] == ["Queue"] * (whole >= 3)
        assert (process.left is not None) == (whole >= 4)


def test_a_cut_record_and_the_next_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "7-5.trace").write_text(WHOLE[:70] + "\n" + WHOLE[WHOLE.index("site") :])
    process = read(str(tmp_path)).processes[0]
    assert process.torn == 1
    assert len(process.origins) == 1


@pytest.mark.timeout(400)
def test_many_processes(python: str, tmp_path: Path) -> None:
    count = 1000 if LONG else 40
    program = f"""
    import multiprocessing, os, sys
    lock = multiprocessing.get_context("spawn").Lock()
    for _ in range({count} // 20):
        pids = []
        for _ in range(20):
            pid = os.fork()
            if not pid:
                mine = multiprocessing.get_context("spawn").Lock()
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)
    """
    command = [python, "-W", "ignore", written(tmp_path, program)]
    run = traced(command, folder=tmp_path, timeout=380)
    assert run.status == 0
    assert run.leaks == {"app.py:8": f"{count} Lock {count}"}
    (leak,) = run.report["leaks"]
    assert len(leak["processes"]) == count
    assert run.report["unknown"] == []


def test_a_program_that_closes_all_descriptors_keeps_its_files(python: str, tmp_path: Path) -> None:
    program = """
    import multiprocessing, os
    spawn = multiprocessing.get_context("spawn")
    first = spawn.Queue()
    os.closerange(3, 4096)
    files = [open(f"own{number}", "w") for number in range(5)]
    multiprocessing.get_context("fork").Event()
    os._exit(0)
    """
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    assert run.leaks == {"app.py:3": "1 Queue 3"}
    assert [(tmp_path / f"own{number}").read_text() for number in range(5)] == [""] * 5


def test_without_what_it_needs_the_command_says_what_to_install(tmp_path: Path) -> None:
    script = "import sys; sys.modules['psutil'] = None; import asgi_mpclean.__main__ as m; "
    done = subprocess.run(
        [sys.executable, "-c", f"{script}sys.argv[1:] = {list(TRACE[3:])}; sys.exit(m.main())"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "needs psutil: pip install 'asgi-mpclean[cli]'" in done.stderr
