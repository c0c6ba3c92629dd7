"""`asgi-mpclean trace`: which line made what leaked, in which process, and how that ended."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from pythons import pythons, some
from traces import traced, written

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
import multiprocessing, os, signal, sys, threading, time
from multiprocessing.shared_memory import SharedMemory
spawn = multiprocessing.get_context("spawn")
if __name__ == "__main__":
"""
FIRST = HEAD.count("\n")  # The number of the first line of what follows.


@pytest.fixture(params=pythons(), ids=os.path.basename)
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# What is made in one line, before the process leaves with nothing released: kind and semaphores.
MADE = {
    "spawn.Queue()": "1 Queue 3",
    "spawn.JoinableQueue()": "1 JoinableQueue 8",
    "spawn.SimpleQueue()": "1 SimpleQueue 2",
    "spawn.Lock()": "1 Lock 1",
    "spawn.RLock()": "1 RLock 1",
    "spawn.Semaphore()": "1 Semaphore 1",
    "spawn.BoundedSemaphore()": "1 BoundedSemaphore 1",
    "spawn.Event()": "1 Event 5",
    "spawn.Condition()": "1 Condition 4",
    "spawn.Barrier(2)": "1 Barrier 4",
    "spawn.Value('i')": "1 Value 1",
    "spawn.Array('i', 3)": "1 Array 1",
    "[spawn.Queue() for _ in range(4)]": "4 Queue 12",
    "[spawn.Lock() for _ in range(4)]": "4 Lock 4",
    "SharedMemory(create=True, size=10)": "1 SharedMemory 1",
    "multiprocessing.get_context('forkserver').Queue()": "1 Queue 3",
}


def test_each_kind_is_named_with_its_line(python: str, tmp_path: Path) -> None:
    lines = [f"    made{number} = {text}\n" for number, text in enumerate(MADE)]
    program = HEAD + "".join(lines) + "    os._exit(7)\n"
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    numbers = range(FIRST, FIRST + len(MADE))
    assert run.leaks == dict(zip([f"app.py:{n}" for n in numbers], MADE.values(), strict=True))
    assert run.status == 7
    last = FIRST + len(MADE)
    assert {each for ends in run.endings.values() for each in ends} == {
        f"os._exit(7) at app.py:{last}"
    }
    assert [leak["source"] for leak in run.report["leaks"] if leak["kind"] == "RLock"] == [
        "made4 = spawn.RLock()"
    ]
    assert run.report["unknown"] == []


# How the process ends, what is said of it, and the exit status.
ENDS = {
    "os._exit(3)": ("os._exit(3) at app.py:6", 3),
    "os.kill(os.getpid(), signal.SIGTERM)": ("killed by SIGTERM", -15),
    "os.kill(os.getpid(), signal.SIGKILL)": ("killed by SIGKILL", -9),
    "os.execv('/bin/true', ['true'])": ("exec of /bin/true at app.py:6", 0),
    "os.execlp('true', 'true')": ("exec of /bin/true at app.py:6", 0),
}


@pytest.mark.parametrize("end", some(ENDS, "os.kill(os.getpid(), signal.SIGTERM)"))
def test_it_is_said_how_the_process_ended(python: str, tmp_path: Path, end: str) -> None:
    program = f"{HEAD}    queue = spawn.Queue()\n    {end}\n"
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    said, status = ENDS[end]
    assert run.status == status
    assert run.leaks == {f"app.py:{FIRST}": "1 Queue 3"}
    (ended,) = run.endings[f"app.py:{FIRST}"]
    assert ended.replace(" true ", " /bin/true ").replace("/usr/bin", "/bin") == said


CLEAN = {
    "spawn": "queue = spawn.Queue(); queue.put(1); queue.get()",
    "fork": "lock = multiprocessing.get_context('fork').Lock()",
    "memory": "block = SharedMemory(create=True, size=9); block.close(); block.unlink()",
    "pool": "pool = spawn.Pool(1); pool.map(abs, [1]); pool.close(); pool.join()",
    "nothing": "pass",
    "exit": "sys.exit(5)",
    "exec that fails": "try: os.execv('/nothing', ['x'])\n    except OSError: pass",
}


@pytest.mark.parametrize("name", some(CLEAN, "spawn", "fork"))
def test_what_is_released_is_not_listed(python: str, tmp_path: Path, name: str) -> None:
    run = traced([python, written(tmp_path, f"{HEAD}    {CLEAN[name]}\n")], folder=tmp_path)
    assert run.status == (5 if name == "exit" else 0)
    assert run.report["clean"], run.report
    assert run.report["unknown"] == []


WORKERS = """
import multiprocessing, os, signal, subprocess, sys

def leak(end):
    multiprocessing.get_context("spawn").Event()
    event = multiprocessing.get_context("spawn").Event()
    if end == "exec":
        os.execv(sys.executable, [sys.executable, "-c", "pass"])
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    if sys.argv[1] == "subprocess":
        subprocess.run([sys.executable, __file__, "again"])
    elif sys.argv[1] == "again":
        leak("kill")
    else:
        worker = multiprocessing.get_context(sys.argv[1]).Process(target=leak, args=sys.argv[2:])
        worker.start()
        worker.join()
"""


@pytest.mark.parametrize("way", some(["spawn", "fork", "forkserver", "subprocess"], "forkserver"))
def test_leaks_of_each_kind_of_child_are_named(python: str, tmp_path: Path, way: str) -> None:
    run = traced([python, written(tmp_path, WORKERS), way, "kill"], folder=tmp_path)
    assert run.leaks == {"app.py:5": "1 Event 5"}
    assert len(run.endings["app.py:5"]) == 1
    assert run.endings["app.py:5"][0].startswith("killed")
    assert run.report["unknown"] == []


def test_what_was_made_before_an_exec_and_after_it_is_told_apart(
    python: str, tmp_path: Path
) -> None:
    program = """
    import multiprocessing, os, sys
    if __name__ == "__main__":
        if sys.argv[1:]:
            second = multiprocessing.get_context("spawn").Queue()
            os._exit(0)
        first = multiprocessing.get_context("spawn").Event()
        os.execv(sys.executable, [sys.executable, __file__, "again"])
    """
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    assert run.leaks == {"app.py:6": "1 Event 5", "app.py:4": "1 Queue 3"}
    assert run.endings["app.py:6"][0].startswith("exec of ")
    assert run.endings["app.py:4"] == ["os._exit(0) at app.py:5"]


def test_a_package_is_named_by_its_place_in_it(python: str, tmp_path: Path) -> None:
    package = tmp_path / "lib" / "site-packages" / "acme"
    package.mkdir(parents=True)
    (package / "jobs.py").write_text("import multiprocessing as mp\n\nQ = mp.Queue()\n")
    program = """
    import multiprocessing, os, sys
    sys.path.append("lib/site-packages")
    multiprocessing.set_start_method("spawn")
    import acme.jobs
    os._exit(0)
    """
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    assert [leak["site"] for leak in run.report["leaks"]] == ["acme/jobs.py:3"]


def test_an_executor_and_a_pool_are_named(python: str, tmp_path: Path) -> None:
    program = """
    import multiprocessing, os
    from concurrent.futures import ProcessPoolExecutor
    if __name__ == "__main__":
        spawn = multiprocessing.get_context("spawn")
        pool = spawn.Pool(1)
        pool.map(abs, [1])
        executor = ProcessPoolExecutor(1, mp_context=spawn)
        executor.submit(abs, 1).result()
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(0)
    """
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    lines = {leak["site"]: (leak["kind"], leak["count"]) for leak in run.report["leaks"]}
    assert lines == {"app.py:5": ("Pool", 1), "app.py:7": ("ProcessPoolExecutor", 1)}


LEFT = {
    "a child": (
        (
            "worker = spawn.Process(target=time.sleep, args=(30,), name='sleeper')\n"
            "    worker.start()\n    print(worker.pid, flush=True)\n    os._exit(0)"
        ),
        "children",
        (f"app.py:{FIRST + 1}", "sleeper still runs as process PID"),
    ),
    "unread": (
        "queue = spawn.Queue()\n    [queue.put(n) for n in range(3)]\n    time.sleep(0.2)",
        "unread",
        (f"app.py:{FIRST}", "Queue with 3 unread items"),
    ),
    "unread, of a SimpleQueue": (
        "queue = spawn.SimpleQueue()\n    queue.put(1)",
        "unread",
        (f"app.py:{FIRST}", "SimpleQueue with 1 unread item"),
    ),
    "a child that is waited for": (
        "worker = spawn.Process(target=time.sleep, args=(2,), name='sleeper')\n    worker.start()",
        "waits",
        (f"app.py:{FIRST + 1}", "exit waited N s for child process PID"),
    ),
    "a thread": (
        "threading.Thread(target=time.sleep, args=(1.5,), name='slow one').start()",
        "waits",
        ("None", "exit waited N s for thread 'slow one', which is not a daemon"),
    ),
    "a thread in the program's code": (
        "work = lambda: time.sleep(1.5)\n    threading.Thread(target=work, name='slow').start()",
        "waits",
        (f"app.py:{FIRST}", "exit waited N s for thread 'slow', which is not a daemon"),
    ),
}


@pytest.mark.parametrize("name", some(LEFT, "a child", "unread", "a thread"))
def test_what_only_an_exit_shows(python: str, tmp_path: Path, name: str) -> None:
    text, part, expected = LEFT[name]
    run = traced([python, written(tmp_path, f"{HEAD}    {text}\n")], folder=tmp_path)
    said = [
        (site, re.sub(r"process \d+", "process PID", re.sub(r"\d+\.\d s", "N s", what)))
        for site, what in run.notes(part)
    ]
    if part == "children":
        os.kill(int(run.stdout), 9)
    assert said == [expected]
    assert not run.report["clean"]


def test_a_feeder_that_keeps_the_exit_waiting_is_named(python: str, tmp_path: Path) -> None:
    program = f"""{HEAD}
    queue = spawn.Queue()
    queue.put(b"x" * 1_000_000)
    pid = os.getpid()
    threading.Thread(target=lambda: (time.sleep(2), os.kill(pid, 9)), daemon=True).start()
    """
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    assert run.status == -9
    ((site, what),) = run.notes("waits")
    assert site == f"app.py:{FIRST + 1}"
    assert "did not come to the end of its exit (killed by SIGKILL)" in what
    assert what.endswith("the feeder of a Queue")


def test_items_that_workers_read_during_the_exit_are_not_unread(
    python: str, tmp_path: Path
) -> None:
    program = """
    import multiprocessing
    def work(queue, ready):
        ready.set()
        for _ in range(50):
            queue.get()
    if __name__ == "__main__":
        spawn = multiprocessing.get_context("spawn")
        queue = spawn.Queue()
        ready = spawn.Event()
        worker = spawn.Process(target=work, args=(queue, ready))
        worker.start()
        ready.wait()
        for number in range(50):
            queue.put(number)
    """
    run = traced([python, written(tmp_path, program)], folder=tmp_path)
    assert run.report["clean"], run.report
