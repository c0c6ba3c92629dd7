"""exec and restart on Windows, where an exec is another process, and quotes nothing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from console import Program

from asgi_mpclean import execv, execvp
from asgi_mpclean._exec import exec as own_exec

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
    import multiprocessing, os, sys
    import asgi_mpclean
    if __name__ == "__main__":
        print("program", sys.argv[1:], flush=True)
        if not os.environ.get("AGAIN"):
            os.environ["AGAIN"] = "yes"
            queue = asgi_mpclean.register(multiprocessing.Queue(), on_item=print)
            for number in range(3): queue.put(number)
            {leave}
"""


@pytest.mark.parametrize(
    ("leave", "words", "status"),
    [
        ("asgi_mpclean.restart()", ["two words", 'a "quote"', ""], 0),
        ("asgi_mpclean.restart(via='spawn')", ["two words"], 0),
    ],
)
def test_restart_runs_the_same_program_with_the_same_arguments(
    tmp_path: Path, leave: str, words: list[str], status: int
) -> None:
    with Program.script(tmp_path, PROGRAM.format(leave=leave), *words) as program:
        lines = program.end()
        assert lines == [f"program {words}", "0", "1", "2", f"program {words}"]
        assert program.process.returncode == status


def test_execv_cleans_up_and_runs_the_program(tmp_path: Path) -> None:
    leave = "asgi_mpclean.execv(sys.executable, ['python', '-c', 'print(6*7)'])"
    with Program.script(tmp_path, PROGRAM.format(leave=leave)) as program:
        assert program.end() == ["program []", "0", "1", "2", "42"]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("no such program", ["x"]), FileNotFoundError),
        ((sys.executable, []), ValueError),
        ((sys.executable, [1]), TypeError),
        ((os.path.dirname(sys.executable), ["x"]), PermissionError),
    ],
)
def test_what_cannot_be_executed_is_said_before_anything_is_cleaned(
    args: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        execv(*args)
    with pytest.raises(FileNotFoundError):
        execvp("no such program", ["x"])


def test_a_program_is_found_without_its_extension() -> None:
    path = sys.executable.removesuffix(".exe")
    assert own_exec.check([path], ["python"]) == [path]
    assert own_exec.check([os.fsencode(path)], ["python"]) == [os.fsencode(path)]
