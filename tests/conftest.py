"""What every test must leave behind: nothing."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from typing import TYPE_CHECKING

import pytest

import asgi_mpclean
from asgi_mpclean import _cpython, _shutdown

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.register_assert_rewrite("uvicorn_cases")

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves a semaphore, a child, a handler or a registration behind."""
    handlers = {number: signal.getsignal(number) for number in WATCHED}
    names = _cpython.Snapshot().names
    yield
    asgi_mpclean.clean()
    _shutdown._policy = _shutdown.Policy()
    left = _cpython.Snapshot().names - names
    assert not left, f"semaphores left: {left}"
    assert not multiprocessing.active_children()
    assert {number: signal.getsignal(number) for number in WATCHED} == handlers


@pytest.fixture(params=["spawn", "forkserver", "fork"])
def method(request: pytest.FixtureRequest) -> str:
    """Each start method."""
    return str(request.param)


@pytest.fixture
def script_python() -> str:
    """The interpreter for the scripts of a test."""
    return sys.executable
