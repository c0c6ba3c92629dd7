"""Threads of the app that end as a clean-up ends what they use: what is printed of them."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import multiprocessing.connection
import multiprocessing.pool
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from asgi_mpclean._cpython import thread_errors
from asgi_mpclean._cpython.thread_errors import expect_end_of, expect_thread_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CTX: Any = multiprocessing.get_context("spawn")


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[type[BaseException]]]:
    """What Python would print of threads, where no test before has left anything expected."""
    thread_errors._expected.until = 0.0
    found: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: found.append(args.exc_type))
    yield found
    thread_errors._expected.until = 0.0


def run(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function, name="reader")
    thread.start()
    thread.join(10)


def receive_from_nobody() -> None:
    receiving, sending = CTX.Pipe(duplex=False)
    sending.close()
    receiving.recv()


def send_to_nobody() -> None:
    receiving, sending = CTX.Pipe(duplex=False)
    receiving.close()
    sending.send(1)


def send_into_a_closed_one() -> None:
    receiving, sending = CTX.Pipe(duplex=False)
    receiving.close()
    sending.close()
    sending.send(1)


def call_who_is_gone() -> None:
    multiprocessing.connection.Client("/nobody/listens/here")


def submit_too_late() -> None:
    executor = concurrent.futures.ProcessPoolExecutor(1, CTX)
    executor.shutdown()
    executor.submit(abs, 1)


def apply_too_late() -> None:
    with multiprocessing.pool.ThreadPool(1) as pool:
        pool.close()
        pool.apply_async(abs, (1,))


def wait_for_a_cancelled_job() -> None:
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.cancel()
    future.result()


def raise_something_like_it() -> None:
    raise EOFError


def open_what_is_not_there() -> None:
    open("/nobody/has/written/this")  # noqa: SIM115


def wait_for_a_job_that_fails() -> None:
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.set_exception(EOFError())
    future.result()


OF_CLEAN_UPS = [
    receive_from_nobody,
    send_to_nobody,
    send_into_a_closed_one,
    call_who_is_gone,
    submit_too_late,
    apply_too_late,
    wait_for_a_cancelled_job,
]
OF_THE_APP = [raise_something_like_it, open_what_is_not_there, wait_for_a_job_that_fails]


@pytest.mark.parametrize("function", OF_CLEAN_UPS)
def test_what_comes_of_a_clean_up_is_not_printed(
    function: Callable[[], None],
    printed: list[type[BaseException]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(function)
    assert len(printed) == 1
    expect_thread_errors(going_away=True)
    run(function)
    assert len(printed) == 1
    assert not caplog.records


@pytest.mark.parametrize("function", OF_THE_APP)
def test_an_error_of_the_app_is_printed(
    function: Callable[[], None], printed: list[type[BaseException]]
) -> None:
    expect_thread_errors(going_away=True)
    run(function)
    assert len(printed) == 1


def test_where_the_program_goes_on_it_is_told_in_one_line(
    printed: list[type[BaseException]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with caplog.at_level(logging.WARNING, "asgi_mpclean"):
        expect_thread_errors(going_away=False)
        run(receive_from_nobody)
    (message,) = caplog.messages
    assert message.endswith("reader has ended, as what it used was cleaned up: EOFError()")
    assert not printed
    monkeypatch.setattr(thread_errors, "NOTICE_SECONDS", 0.0)
    expect_thread_errors(going_away=False)
    run(receive_from_nobody)
    assert printed == [EOFError]


def test_a_thread_that_is_made_to_end_does_so_without_a_word(
    printed: list[type[BaseException]], caplog: pytest.LogCaptureFixture
) -> None:
    receiving, sending = CTX.Pipe(duplex=False)
    thread = threading.Thread(target=receiving.recv)
    expect_end_of(thread)
    thread.start()
    sending.close()
    thread.join(10)
    assert not printed
    assert not caplog.records
    run(receive_from_nobody)
    assert printed == [EOFError]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_by_fork_expects_nothing(printed: list[type[BaseException]]) -> None:
    found = threading.excepthook
    expect_thread_errors(going_away=True)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if threading.excepthook is found else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert not printed


@pytest.mark.parametrize("times", [1, 2, 3])
def test_others_may_put_their_hook_around_it(
    times: int, printed: list[type[BaseException]]
) -> None:
    for _ in range(times):
        expect_thread_errors(going_away=True)
        below: Any = threading.excepthook
        threading.excepthook = lambda args, below=below: below(args)  # type: ignore[misc]
    run(raise_something_like_it)
    assert printed == [EOFError]
