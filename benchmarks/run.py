"""Measure the clean-up of many queues, and what the lifespan wrapper adds to an http call.

    python benchmarks/run.py
    python benchmarks/run.py --queues 1 1000 --repetitions 9 --json

`Registry.clean`, after which the process goes on, and the lifespan's end after SIGTERM, after which
it does not, deliver every item: to the `append` of a list, and `clean_code` to a function. They
stand beside `multiprocessing.util._exit_function()`, which delivers none, and beside the floor: the
system calls that cannot be spared. 5000 queues take 10,000 descriptors and 5000 threads; the soft
limit of descriptors (ulimit -n) is raised where the hard one allows it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TypedDict

from cleanup import ITEMS, METHODS

HERE = Path(__file__).parent
DELIVERING = ("clean", "clean_code", "lifespan")


class Times(TypedDict):
    """Milliseconds of a clean-up: the call, and from its start until the process is gone."""

    call: float
    to_exit: float


class Results(TypedDict):
    """Medians by number of queues and method, and the seconds of one http call."""

    python: str
    cleanup: dict[int, dict[str, Times]]
    per_call: dict[str, float]


def run_once(method: str, queues: int, options: list[str]) -> Times:
    """Measure one clean-up in a process of its own, and check what it did."""
    process = subprocess.Popen(
        [sys.executable, HERE / "cleanup.py", method, str(queues), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.wait()
    ended = time.monotonic()
    output, errors = process.communicate()
    what = f"{method} with {queues} queues"
    if process.returncode or errors:
        sys.exit(f"{what} ended with {process.returncode}: {errors}")
    printed = json.loads(output)
    if printed["semaphores_left"]:
        sys.exit(f"{what} left {printed['semaphores_left']} semaphores")
    if method in DELIVERING and printed["delivered"] != ITEMS * queues:
        sys.exit(f"{what} delivered {printed['delivered']} of {ITEMS * queues} items")
    return {"call": printed["seconds"] * 1e3, "to_exit": (ended - printed["started"]) * 1e3}


def measure_cleanup(queues: int, repetitions: int, options: list[str]) -> dict[str, Times]:
    """Take the median of each method; in turns, so that a slow moment of the machine meets each."""
    runs: dict[str, list[Times]] = {method: [] for method in METHODS}
    for _ in range(repetitions):
        for method in METHODS:
            runs[method].append(run_once(method, queues, options))
    return {
        method: {
            "call": statistics.median(times["call"] for times in all_times),
            "to_exit": statistics.median(times["to_exit"] for times in all_times),
        }
        for method, all_times in runs.items()
    }


def measure_per_call() -> dict[str, float]:
    """Run per_call.py."""
    output = subprocess.run(
        [sys.executable, HERE / "per_call.py"], stdout=subprocess.PIPE, check=True, text=True
    ).stdout
    seconds: dict[str, float] = json.loads(output)
    return seconds


def print_tables(results: Results) -> None:
    """Print the ratios as a person reads them."""
    print(f"Python {results['python']}, {os.cpu_count()} cores")
    print(f"\nClean-up of spawn queues with live feeders and {ITEMS} items each, ms (medians)")
    print(f"{'queues':>7}  {'method':<14}{'ms':>9}{'of floor':>10}{'faster':>8}{'to exit':>9}")
    for queues, methods in results["cleanup"].items():
        old, floor = methods["exit_function"]["call"], methods["floor"]["call"]
        for method, times in methods.items():
            call = times["call"]
            print(f"{queues:>7}  {method:<14}{call:>9.2f}{call / floor:>10.1f}", end="")
            print(f"{old / call:>8.1f}{times['to_exit']:>9.1f}")
    print("faster: than _exit_function; to exit: ms from the beginning until the process is gone")
    bare = results["per_call"]["bare"]
    print("\nOne http call, ns (medians)")
    for name, seconds in results["per_call"].items():
        print(f"{name:>16} {seconds * 1e9:>7.0f}  +{(seconds - bare) * 1e9:.0f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, nargs="+", default=[1, 100, 1000, 5000])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--just-put", action="store_true", help="while items are on their way to the pipes"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    arguments = parser.parse_args()
    options = ["--just-put"] if arguments.just_put else []
    results: Results = {
        "python": platform.python_version(),
        "cleanup": {
            queues: measure_cleanup(queues, arguments.repetitions, options)
            for queues in arguments.queues
        },
        "per_call": measure_per_call(),
    }
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        print_tables(results)


if __name__ == "__main__":
    main()
