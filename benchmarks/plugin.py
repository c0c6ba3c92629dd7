"""What the pytest plugin costs a test.

Usage: python benchmarks/plugin.py

Tests that do nothing, and tests that make and drop a queue, are run in turn with the plugin off and
on, beside queues of the module. CPU time is measured; the least of all rounds counts.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 5
COUNT = 500
TESTS = {
    "nothing": "@pytest.mark.parametrize('n', range({count}))\ndef test(n, tmp): pass\n",
    "a queue": (
        "@pytest.mark.parametrize('n', range({count}))\n"
        "def test(n, tmp): multiprocessing.get_context('spawn').Queue()\n"
    ),
}
HEAD = """
import multiprocessing, pytest
QUEUES = [multiprocessing.get_context("spawn").Queue() for _ in range(5)]
@pytest.fixture
def tmp(): return 1
"""


def seconds(folder: str, *words: str) -> float:
    """Return the CPU time that the tests take."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, "test_it.py"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print what each kind of test costs."""
    for name, tests in TESTS.items():
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "pytest.ini").write_text("[pytest]\n")
            Path(folder, "test_it.py").write_text(HEAD + tests.format(count=COUNT))
            off, on = [], []
            for _ in range(ROUNDS):
                off.append(seconds(folder))
                on.append(seconds(folder, "--mp-leaks=fail"))
        each = (min(on) - min(off)) / COUNT * 1e3
        print(f"a test that makes {name}: {each:.3f} ms more with --mp-leaks=fail")


if __name__ == "__main__":
    main()
