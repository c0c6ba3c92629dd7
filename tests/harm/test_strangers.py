"""What is not ours: semaphores that a worker only opened, numbers that are another's by now."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import kit
import pytest

METHODS = ["spawn", "forkserver", "fork"]
long = pytest.mark.skipif(not kit.LONG, reason="--long")
in_namespace = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="a PID namespace needs root",
)


def cells(*table: tuple[str, ...], default: int) -> list[object]:
    """Return the rows of a table, those after the first ones only for `--long`."""
    return [
        pytest.param(*row, marks=() if number < default else long)
        for number, row in enumerate(table)
    ]


@pytest.mark.parametrize(
    ("method", "maker", "ignores"),
    cells(
        ("spawn", "stranger", "idle"),
        ("fork", "itself", "idle"),
        ("forkserver", "sibling", "stubborn"),
        *[(m, w, "idle") for m in METHODS for w in ("stranger", "sibling", "itself")],
        *[(m, w, "stubborn") for m in METHODS for w in ("stranger", "sibling", "itself")],
        default=3,
    ),
)
def test_only_what_a_worker_made_is_unlinked_for_it(method: str, maker: str, ignores: str) -> None:
    outcome = kit.run("semaphores.py", method, maker, ignores)
    assert outcome.output.splitlines() == [
        "the worker has made 3",
        f"it was {'killed' if ignores == 'stubborn' else 'terminated'}",
        "of what it made there are 0",
        "of what others made there are 3",
        "the lock is there: True",
        "semaphores unlinked: 3",
    ]
    assert outcome.status == 0
    assert not outcome.left


@in_namespace
@pytest.mark.parametrize(
    ("method", "reaper", "whose"),
    cells(
        ("spawn", "the kernel", "a stranger's"),
        ("fork", "the app", "ours"),
        ("spawn", "the app", "a stranger's"),
        ("spawn", "the kernel", "ours"),
        ("fork", "the kernel", "a stranger's"),
        ("fork", "the app", "a stranger's"),
        default=2,
    ),
)
def test_a_process_that_has_the_number_of_an_ended_worker_is_left_alone(
    method: str, reaper: str, whose: str
) -> None:
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    # Not as PID 1, which is another story.
    words = [sys.executable, "pid_reuse.py", method, reaper, whose]
    shell = ["sh", "-c", '"$@"; exit $?', "sh", *words]
    done = subprocess.run(
        [*namespace, *shell],
        cwd=kit.PROGRAMS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "it has ended: True",
        "another has its number: True",
        "it was signalled: False",
        "the other lives: True",
        "at once: True",
    ]


@pytest.mark.parametrize(
    ("session", "ignores"),
    cells(
        ("of its own", "idle"),
        ("of the worker", "stubborn"),
        ("of the worker", "idle"),
        ("of its own", "stubborn"),
        default=2,
    ),
)
def test_a_helper_that_cleans_up_when_its_client_is_gone_is_left_to_do_so(
    session: str, ignores: str
) -> None:
    without, within = kit.both("helpers.py", "helper", session, ignores)
    assert kit.lines(without) == ["the helper has cleaned up", "the end"]
    kept = [line for line in kit.lines(within) if "killed" not in line]
    assert kept == kit.lines(without), within.output
    assert not within.orphans


@pytest.mark.parametrize(
    ("what", "ignores"),
    cells(
        ("late", "idle"),
        ("restarter", "stubborn"),
        ("late", "stubborn"),
        ("restarter", "idle"),
        default=1,
    ),
)
def test_what_descendants_start_while_they_are_ended_is_ended_too(what: str, ignores: str) -> None:
    outcome = kit.run("helpers.py", what, "of the worker", ignores)
    assert outcome.output.splitlines()[-1:] == ["the end"]
    assert not outcome.orphans


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=long)])
def test_a_daemon_that_nobody_registered_and_that_never_stops_writing_is_ended_at_once(
    method: str,
) -> None:
    """As Python ends it, whatever it is doing; nobody waits for what it writes."""
    outcome = kit.run(
        """
        import itertools, multiprocessing, sys
        import asgi_mpclean
        def write(results):
            for number in itertools.count():
                results.put(number)
        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            results = asgi_mpclean.register(context.Queue(100), on_item=[].append)
            context.Process(target=write, args=(results,), daemon=True).start()
            results.get()
            report = asgi_mpclean.clean(discover=True)
            print([entry.outcome for entry in report.resources if entry.kind.endswith("Process")])
            print("at once:", report.seconds < 1)
        """,
        method,
    )
    assert outcome.output.splitlines() == ["['terminated']", "at once: True"]


@pytest.mark.parametrize("workers", [12, pytest.param(64, marks=long)])
def test_other_processes_are_looked_at_once_for_each_look_not_for_each_worker(workers: int) -> None:
    outcome = kit.run("crowd.py", str(workers))
    *looks, ended = outcome.output.splitlines()
    assert ended == f"ended: {workers}"
    times = {name: int(number) for name, _, number in (line.partition(": ") for line in looks)}
    assert len(times) == 3
    assert max(times.values()) <= 8, times
