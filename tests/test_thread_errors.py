"""Threads of the app that end because of a clean-up: the hook that says so, and those around it."""

from __future__ import annotations

import multiprocessing
import threading
from typing import TYPE_CHECKING, Any

import pytest

from asgi_mpclean import Registry
from asgi_mpclean._cpython.thread_errors import expect_thread_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[type[BaseException]]]:
    """Return what the program's own hook is told of."""
    told: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    yield told
    expect_thread_errors(going_away=False)


def end_in_thread(target: Callable[[], object]) -> None:
    thread = threading.Thread(target=target)
    thread.start()
    thread.join(20)


def send_to_nobody() -> None:
    reader, writer = multiprocessing.Pipe(duplex=False)
    reader.close()
    try:
        writer.send(1)
    finally:
        writer.close()


def fail() -> None:
    raise LookupError


@pytest.mark.parametrize("times", [1, 2, 3])
def test_others_may_put_their_hook_around_it(times: int, told: list[type[BaseException]]) -> None:
    for _ in range(times):
        expect_thread_errors(going_away=True)
        below: Any = threading.excepthook
        threading.excepthook = lambda args, below=below: below(args)  # type: ignore[misc]
    end_in_thread(fail)
    assert told == [LookupError]


@pytest.mark.parametrize(
    ("going_away", "lines"), [(True, 0), (False, 1)], ids=["the process ends", "it goes on"]
)
def test_an_end_by_a_clean_up_is_no_traceback(
    going_away: bool,
    lines: int,
    told: list[type[BaseException]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    expect_thread_errors(going_away=going_away)
    end_in_thread(send_to_nobody)
    assert (told, len(caplog.records)) == ([], lines)


def test_without_a_clean_up_the_same_is_told(told: list[type[BaseException]]) -> None:
    Registry().clean(1)  # Called by the program itself, which is not told to stop.
    end_in_thread(send_to_nobody)
    assert told == [BrokenPipeError]
