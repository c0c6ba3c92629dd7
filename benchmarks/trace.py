"""What tracing costs: making a lock, and everything else.

Usage: python benchmarks/trace.py [PYTHON...]

Each figure is from processes that are started in turn with and without the trace, so that a busy
machine is as busy for both; the least of all rounds counts. The interpreters may be of other
environments, without this library.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from asgi_mpclean._inject.environment import environment
from asgi_mpclean._trace.launch import FOLDER, RECORDER

ROUNDS = 10

TIMED = """
import gc, multiprocessing, sys, time
context = multiprocessing.get_context({method!r})
made = [context.{kind}()]
gc.disable()
times = []
for _ in range({rounds}):
    begun = time.perf_counter()
    for _ in range({count}):
        made.append(context.{kind}())
    times.append((time.perf_counter() - begun) / {count})
    made.clear()
print(min(times))
"""

PROGRAMS = {
    f"{kind}(), {method}": TIMED.format(method=method, kind=kind, rounds=20, count=count)
    for method in ("spawn", "fork")
    for kind, count in (("Lock", 100), ("Queue", 20))
} | {
    "start of Python": "",
    "import multiprocessing.queues": """
import time
begun = time.perf_counter()
import multiprocessing.queues
print(time.perf_counter() - begun)
""",
    "1000 items through a queue": """
import multiprocessing, time
queue = multiprocessing.get_context("spawn").Queue()
def once():
    begun = time.perf_counter()
    for number in range(1000):
        queue.put(number)
    for _ in range(1000):
        queue.get()
    return time.perf_counter() - begun
print(min(once() for _ in range(10)))
""",
}


def measured(python: str, program: str, env: dict[str, str]) -> float:
    """Return the seconds that a program prints, or those of its whole run."""
    if not program:
        begun = time.perf_counter()
        subprocess.run([python, "-c", "pass"], env=env, check=True)
        return time.perf_counter() - begun
    done = subprocess.run([python, "-c", program], env=env, check=True, capture_output=True)
    return float(done.stdout)


def compare(python: str, program: str, traced: dict[str, str]) -> tuple[float, float]:
    """Return the seconds without and with the trace."""
    plain = {name: value for name, value in traced.items() if name not in traced_only(traced)}
    without, within = [], []
    for _ in range(ROUNDS):
        without.append(measured(python, program, plain))
        within.append(measured(python, program, traced))
    return min(without), min(within)


def traced_only(traced: dict[str, str]) -> set[str]:
    """Return the variables that only the trace sets."""
    return {name for name in traced if os.environ.get(name) != traced[name]}


def main() -> None:
    """Print a table for each interpreter."""
    for python in sys.argv[1:] or [sys.executable]:
        version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout
        print(f"{version.strip():<34} {'without':>12} {'traced':>12} {'ratio':>7}")
        for name, program in PROGRAMS.items():
            with tempfile.TemporaryDirectory() as folder:
                env = environment({**os.environ, FOLDER: folder}, [RECORDER], seen=folder)
                without, within = compare(python, program, env)
            print(
                f"{name:<34} {without * 1e6:9.1f} us {within * 1e6:9.1f} us {within / without:7.3f}"
            )


if __name__ == "__main__":
    main()
