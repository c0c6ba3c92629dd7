"""What the library costs a program that only imports it: its own thin modules, and no more.

Each server and each worker pays for an import, and most workers never use the library. So closers,
plan and signals are loaded by the first `register` or by the start of a lifespan.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import asgi_mpclean

# The modules that may be loaded with the public names, besides the rooms that they are in.
THIN = {
    "asgi_mpclean",
    "_asgi.lifespan",
    "_asgi.options",
    "_asgi.wrapper",
    "_cpython.fork",
    "_cpython.gil",
    "_cpython.loaded",
    "_cpython.process",
    "_registry.default",
    "_registry.options",
    "_registry.owner",
    "_registry.entries",
    "_registry.process",
    "_registry.registry",
    "_shutdown.state",
    "_switch",
    "_worker.birth",
}
# What each of these costs is more than all that is loaded.
COSTLY = {
    "anyio",
    "asyncio",
    "concurrent.futures",
    "ctypes",
    "dataclasses",
    "inspect",
    "logging",
    "multiprocessing.managers",
    "multiprocessing.pool",
    "multiprocessing.queues",
    "multiprocessing.shared_memory",
    "subprocess",
    "typing",
}
USES = {
    "MPCleanLifespan": "from asgi_mpclean import MPCleanLifespan",
    "mpclean_lifespan": "from asgi_mpclean import mpclean_lifespan",
    "register": "from asgi_mpclean import register",
    "Process": "from asgi_mpclean import Process",
    "all four": "from asgi_mpclean import MPCleanLifespan, Process, mpclean_lifespan, register",
}
# What a worker by spawn does as well, as it imports the main module.
USES_IN_WORKER = USES | {
    "an app": "import asgi_mpclean as a; a.MPCleanLifespan(print)",
    "a lifespan": "import asgi_mpclean as a; a.mpclean_lifespan(timeout=3)",
}
NOTE = "import sys; before = set(sys.modules); {}; print(*sorted(set(sys.modules) - before))"
IN_WORKER = """
import multiprocessing
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=exec, args=({code!r},))
    process.start()
    process.join()
"""


def loaded_by(code: str) -> set[str]:
    """Return what code loads in an interpreter that has loaded no package yet."""
    folder = str(Path(asgi_mpclean.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": folder},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return set(done.stdout.split())


def assert_thin(loaded: set[str]) -> None:
    ours = {name for name in loaded if name.startswith("asgi_mpclean")}
    modules = {name.removeprefix("asgi_mpclean.") for name in ours}
    rooms = {name.partition(".")[0] for name in THIN}
    assert "asgi_mpclean" in modules
    assert modules <= THIN | rooms
    assert not loaded & COSTLY


@pytest.mark.parametrize("use", USES)
def test_a_server_that_imports_loads_little(use: str) -> None:
    assert_thin(loaded_by(NOTE.format(USES[use])))


@pytest.mark.parametrize("use", USES_IN_WORKER)
def test_a_worker_that_imports_the_app_loads_little(use: str) -> None:
    assert_thin(loaded_by(IN_WORKER.format(code=NOTE.format(USES_IN_WORKER[use]))))


def test_each_public_name_is_found_where_it_is_said_to_be() -> None:
    for name in asgi_mpclean.__all__:
        assert getattr(asgi_mpclean, name).__module__.startswith("asgi_mpclean._")
    assert set(asgi_mpclean.__all__) <= set(dir(asgi_mpclean))
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = asgi_mpclean.no_such_name  # type: ignore[attr-defined]
