"""What tracing costs: making a lock, and everything else.

Usage: python benchmarks/trace.py [PYTHON...]

Each figure is CPU time, the least of all rounds. What is made is made in turn with and without the
trace, in the same process; all else is from processes that are started in turn. The interpreters
may be of other environments, without this library.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from asgi_mpclean._inject.environment import environment
from asgi_mpclean._trace.launch import FOLDER, RECORDER

ROUNDS = 10
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"

TIMED = """
import gc, multiprocessing, time
from asgi_mpclean._trace.held import trace
make = multiprocessing.get_context({method!r}).{kind}
made = [make()]

def batch():
    begun = time.process_time()
    for _ in range({count}):
        made.append(make())
    seconds = (time.process_time() - begun) / {count}
    made.clear()
    return seconds

gc.disable()
without, within = [], []
for _ in range(60):
    without.append(batch())
    with trace():
        within.append(batch())
print(min(without), min(within))
"""

MADE = {
    f"{kind}(), {method}": TIMED.format(method=method, kind=kind, count=count)
    for method in ("spawn", "fork")
    for kind, count in (("Lock", 200), ("Queue", 40))
}
PROGRAMS = {
    "start of Python": "",
    "import multiprocessing.queues": """
import time
begun = time.process_time()
import multiprocessing.queues
print(time.process_time() - begun)
""",
    "1000 items through a queue": """
import multiprocessing, time
queue = multiprocessing.get_context("spawn").Queue()
def once():
    begun = time.process_time()
    for number in range(1000):
        queue.put(number)
    for _ in range(1000):
        queue.get()
    return time.process_time() - begun
print(min(once() for _ in range(10)))
""",
}


def measured(python: str, program: str, env: dict[str, str]) -> float:
    """Return the seconds that a program prints, or those of its whole run."""
    if not program:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([python, "-c", "pass"], env=env, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    done = subprocess.run([python, "-c", program], env=env, check=True, capture_output=True)
    return float(done.stdout)


def compare(python: str, program: str, traced: dict[str, str]) -> tuple[float, float]:
    """Return the seconds without and with the trace."""
    plain = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    traced = {name: value for name, value in traced.items() if name != NO_BYTECODE}
    without, within = [], []
    for _ in range(ROUNDS):
        without.append(measured(python, program, plain))
        within.append(measured(python, program, traced))
    return min(without), min(within)


def made(python: str, program: str) -> tuple[float, float]:
    """Return the seconds to make something, without and with the trace."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([python, "-c", program], env=env, check=True, capture_output=True)
    without, within = map(float, done.stdout.split())
    return without, within


def show(name: str, without: float, within: float) -> None:
    """Print a line of the table."""
    print(f"{name:<34} {without * 1e6:9.1f} us {within * 1e6:9.1f} us {within / without:7.3f}")


def main() -> None:
    """Print a table for each interpreter."""
    for python in sys.argv[1:] or [sys.executable]:
        version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout
        print(f"{version.strip():<34} {'without':>12} {'traced':>12} {'ratio':>7}")
        for name, program in MADE.items():
            show(name, *made(python, program))
        for name, program in PROGRAMS.items():
            with tempfile.TemporaryDirectory() as folder:
                env = environment({**os.environ, FOLDER: folder}, [RECORDER], seen=folder)
                show(name, *compare(python, program, env))


if __name__ == "__main__":
    main()
