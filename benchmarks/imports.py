"""Measure what importing the library costs a server and a worker, and a server's way to its answer.

    python benchmarks/imports.py
    python benchmarks/imports.py --repetitions 15 --json

CPU milliseconds of the import, with bytecode cached: in a process that has loaded FastAPI and
uvicorn, and in a worker started by spawn that never uses the library. Then the seconds from the
start of `uvicorn` to the first answer of an app with two queues, in turns with the same app without
the library, as the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

IMPORT = "from asgi_mpclean import MPCleanLifespan, Process, mpclean_lifespan, register"
# What has been loaded before the import in each kind of process.
LOADED = {
    "server": "import fastapi, uvicorn",
    "worker": "import multiprocessing.spawn, multiprocessing.resource_tracker",
}
MEASURE = """
import time
{loaded}
began = time.process_time()
{imported}
print((time.process_time() - began) * 1e3)
"""
APP = """
import multiprocessing
from fastapi import FastAPI
{imports}
spawn = multiprocessing.get_context("spawn")
queues = [{queue} for _ in range(2)]
app = FastAPI({lifespan})

@app.get("/")
def answer():
    return "here"
"""
WITH = {
    "imports": "from asgi_mpclean import mpclean_lifespan, register",
    "queue": "register(spawn.Queue())",
    "lifespan": "lifespan=mpclean_lifespan()",
}
WITHOUT = {"imports": "", "queue": "spawn.Queue()", "lifespan": ""}
PATIENCE_SECONDS = 30.0


def environment(bytecode: str) -> dict[str, str]:
    """Return an environment in which bytecode is cached, in a folder of the measurement's own."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": bytecode}


def measure_import(kind: str, repetitions: int, env: dict[str, str]) -> float:
    """Return the median CPU milliseconds of the import in one kind of process."""
    script = MEASURE.format(loaded=LOADED[kind], imported=IMPORT)
    command = [sys.executable, "-c", script]
    runs = [
        float(
            subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=env).stdout
        )
        for _ in range(repetitions + 1)  # The first one writes the bytecode.
    ]
    return statistics.median(runs[1:])


def seconds_to_answer(folder: Path, name: str, env: dict[str, str]) -> float:
    """Start a server and return the seconds until its first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", f"{name}:app", "--port", str(port)]
    began = time.monotonic()
    command += ["--log-level", "critical"]
    # The app without the library leaves its semaphores to the tracker, which says so.
    server = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.DEVNULL)
    try:
        while time.monotonic() < began + PATIENCE_SECONDS:
            if is_answered(port):
                return time.monotonic() - began
            time.sleep(0.001)
        sys.exit(f"no answer from {name} within {PATIENCE_SECONDS} s")
    finally:
        server.terminate()
        server.wait()


def is_answered(port: int) -> bool:
    """Tell whether the server on a port answers a request."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            response.read()
    except OSError:
        return False
    return True


def measure_start(repetitions: int, env: dict[str, str]) -> dict[str, float]:
    """Return the median seconds to an answer with and without the library, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "with_it.py").write_text(APP.format(**WITH))
        (folder / "without.py").write_text(APP.format(**WITHOUT))
        pairs = []
        for _ in range(repetitions + 1):
            with_it = seconds_to_answer(folder, "with_it", env)
            pairs.append((with_it, seconds_to_answer(folder, "without", env)))
    return {
        "with": statistics.median(with_it for with_it, _ in pairs[1:]),
        "without": statistics.median(without for _, without in pairs[1:]),
        "ratio": statistics.median(with_it / without for with_it, without in pairs[1:]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as bytecode:
        env = environment(bytecode)
        imports = {kind: measure_import(kind, arguments.repetitions, env) for kind in LOADED}
        start = measure_start(arguments.repetitions, env)
    if arguments.json:
        print(json.dumps({"imports": imports, "start": start}, indent=2))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, medians")
    for kind, milliseconds in imports.items():
        print(f"import in a {kind}: {milliseconds:.1f} ms of CPU time")
    print(f"to the first answer: {start['with']:.3f} s, without {start['without']:.3f} s")
    print(f"ratio of the pairs: {start['ratio']:.3f}")


if __name__ == "__main__":
    main()
