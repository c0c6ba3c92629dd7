"""What `asgi-mpclean check` is made of, where it cannot be had by starting a server."""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import os
import signal
import socket
import sys
import types
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import asgi_mpclean
from asgi_mpclean._check import (
    cli,
    commands,
    findings,
    net,
    outcome,
    output,
    processes,
    run,
    server,
    shm,
)
from asgi_mpclean._check.errors import CheckError, ServerError
from asgi_mpclean._check.eventually import eventually
from asgi_mpclean._check.outcome import TRACEBACK
from asgi_mpclean._check.server import Server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc and /dev/shm")


@pytest.fixture
def installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have only some modules installed."""
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: object() if name in request.param else None
    )


@pytest.mark.parametrize(
    ("installed", "worker"),
    [
        ({"gunicorn", "gunicorn.workers.gasgi", "uvicorn_worker"}, "asgi"),
        ({"gunicorn", "uvicorn_worker"}, "uvicorn_worker.UvicornWorker"),
    ],
    indirect=["installed"],
)
@pytest.mark.usefixtures("installed")
def test_gunicorn_serves_by_the_worker_that_there_is(worker: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").touch()
    target = commands.serve(str(tmp_path / "app.py"), "gunicorn")
    assert target.command[target.command.index("--worker-class") + 1] == worker
    target = commands.serve(str(tmp_path / "app.py"), "gunicorn -k mine")
    assert "--worker-class" not in target.command


@pytest.mark.parametrize(
    ("installed", "server", "said"),
    [
        ({"gunicorn"}, "gunicorn", "has no ASGI worker"),
        ({"gunicorn"}, "hypercorn", "hypercorn is not installed here"),
    ],
    indirect=["installed"],
)
@pytest.mark.usefixtures("installed")
def test_a_server_that_is_not_there(server: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").touch()
    with pytest.raises(CheckError, match=said):
        commands.serve(str(tmp_path / "app.py"), server)


def test_a_path_needs_no_name_though_it_has_a_drive(tmp_path: Path) -> None:
    (tmp_path / "c:").mkdir()
    (tmp_path / "c:" / "main.py").touch()
    string, folder, _ = commands.find_app(str(tmp_path / "c:" / "main.py"))
    assert (string, folder) == ("main:app", tmp_path / "c:")


def test_a_key_of_another_system_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "app:app", "--signal", "break"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "'break' is none of int, term, " in said
    with Server(sys.executable, "-c", "import signal; signal.pause()") as server:  # noqa: SIM117
        with pytest.raises(CheckError, match="CTRL-BREAK is a key of Windows"):
            server.press_break()


def test_without_shared_memory_to_look_at_it_counts_by_the_tracker_and_the_trace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on macOS, which has no /proc either."""
    monkeypatch.setattr(shm, "SHM", tmp_path / "none")
    monkeypatch.setattr(processes, "PROC", tmp_path / "none")
    monkeypatch.setattr(server, "can_unshare", lambda: False)
    code = "import http.server, multiprocessing, sys\n"
    code += "queue = multiprocessing.get_context('spawn').Queue()\n"
    code += "port = int(sys.argv[1])\n"
    code += "handler = http.server.BaseHTTPRequestHandler\n"
    code += "http.server.HTTPServer(('127.0.0.1', port), handler).serve_forever()\n"
    (tmp_path / "serve.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    words = ["--", sys.executable, "serve.py", "{port}"]
    assert cli.run(["check", "--signal", "term", *words]) == 1
    assert "3 semaphores leaked: Queue at serve.py:2" in capsys.readouterr().out


def test_a_clean_up_that_took_too_long_is_found() -> None:
    report = {"timeout": 5.0, "seconds": 5.5, "deadline_passed": True, "resources": []}
    result: Any = types.SimpleNamespace(reports=[{"report": report}])
    (found,) = findings._lost(result)
    assert found.fault == "the clean-up took longer than its 5 s"


@pytest.mark.parametrize(
    ("without", "found"),
    [
        (None, ["2 tracebacks"]),
        ({"tracebacks": 2, "tracebacks_of_children": 2}, ["2 tracebacks"]),
        ({"tracebacks": 2, "tracebacks_of_children": 1}, ["1 traceback"]),
        ({"tracebacks": 2, "tracebacks_of_children": 0}, []),
    ],
    ids=["not compared", "all of workers", "one the server's", "all the server's"],
)
def test_only_the_servers_own_tracebacks_are_not_charged(
    without: dict[str, int] | None, found: list[str]
) -> None:
    """Those of workers, which are there without the library as well, could be spared."""
    printed = outcome.Outcome(0, 0.1, "Process Process-1:\n" * 2, tracebacks=2)
    stop = types.SimpleNamespace(forced=False)
    result: Any = types.SimpleNamespace(outcome=printed, run=types.SimpleNamespace(stop=stop))
    other: Any = without and types.SimpleNamespace(outcome=types.SimpleNamespace(**without))
    told = list(findings._printed(result, other))
    assert [finding.fault for finding in told] == found
    assert all("worker_init" in finding.advice for finding in told)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({}, []),
        ({"in_use": True}, []),
        ({"failed": 2}, [("2 items failed: jobs", "on_item raised an error")]),
        ({"dropped": 1}, [("1 item dropped: jobs", "Unpickling raised an error")]),
        ({"dropped": 1, "error": None}, [("1 item dropped: jobs", "Give register() an on_item")]),
        (
            {"dropped": 1, "failed": 1},
            [
                ("1 item dropped: jobs", "Give register() an on_item"),
                ("1 item failed: jobs", "on_item raised an error"),
            ],
        ),
        (
            {"outcome": "failed"},
            [("not closed: jobs", "Closing it raised an error")],
        ),
        (
            {"outcome": "failed", "error": None},
            [("not closed: jobs", "Closing it raised an exception: see the output")],
        ),
    ],
    ids=lambda value: ", ".join(map(str, value)) or "nothing" if isinstance(value, dict) else "",
)
def test_what_a_clean_up_could_not_do_is_found(
    entry: dict[str, object], found: list[tuple[str, str]]
) -> None:
    resource = asgi_mpclean.ResourceReport("jobs", "Queue", "closed", error="an error")
    report = asgi_mpclean.CleanupReport("lifespan", 5.0, resources=[resource])
    for name, value in entry.items():
        setattr(resource, name, value)
    result: Any = types.SimpleNamespace(reports=[{"report": report.to_dict()}])
    told = list(findings._lost(result))
    assert [finding.fault for finding in told] == [fault for fault, _ in found]
    for finding, (_, advice) in zip(told, found, strict=True):
        assert finding.advice.startswith(advice)


def test_each_worker_has_to_say_that_it_has_started() -> None:
    said: Any = types.SimpleNamespace(texts=[("started", 2)], start_timeout=0.3)
    code = "print('started\\n' * 2, flush=True); import signal; signal.pause()"
    with Server(sys.executable, "-c", code) as server:
        run._wait_for_texts(server, said, times=1)
        with pytest.raises(ServerError):
            run._wait_for_texts(server, said, times=2)


@pytest.mark.parametrize(
    ("lines", "of_children"),
    [
        (["Process Process-1:", TRACEBACK], 1),
        (["Process ForkServerProcess-1:1:", "[INFO] Stopping worker-1", TRACEBACK], 1),
        (["Process Process-1:", TRACEBACK, TRACEBACK, "Process Process-2:", TRACEBACK], 2),
        ([TRACEBACK], 0),
        (["Process list:"], 0),
    ],
    ids=["alone", "with a server's line", "two and the server's", "the server's", "none"],
)
def test_tracebacks_of_children(lines: list[str], of_children: int) -> None:
    count = lines.count(TRACEBACK)
    found = outcome.Outcome(0, 0.1, "\n".join([*lines, ""]), tracebacks=count)
    assert found.tracebacks_of_children == of_children


def test_what_leaked_is_counted_by_its_kind_whoever_has_removed_it() -> None:
    told = "There appear to be 2 leaked semaphore objects to clean up"
    left = ("sem.mp-abc", "mp-def", "psm_1234")
    leaked = outcome.Outcome(0, 0.1, told, left=left).leaked
    assert leaked == {"semaphore": 4, "shared_memory": 1}


def test_a_request_that_nobody_takes_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        server: Any = types.SimpleNamespace(port=closed.getsockname()[1])
    with pytest.raises(CheckError, match="GET / failed"):
        run._request(server, "GET", "/", 1)


def test_a_free_port_is_given_once_and_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [net.free_port() for _ in range(20)]
    assert len(set(given)) == 20
    monkeypatch.setattr(net, "_tried", itertools.count())
    with socket.create_server(("127.0.0.1", net.free_port())) as taken:
        monkeypatch.setattr(net, "_tried", itertools.count())
        assert net.free_port() != taken.getsockname()[1]


def test_a_neighbouring_process_tries_other_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "_tried", itertools.count())
    given = [net.free_port() for _ in range(50)]
    monkeypatch.setattr(net, "_tried", itertools.count())
    neighbour = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: neighbour)
    assert not {net.free_port() for _ in range(50)} & set(given)


def test_without_a_free_port_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", net.free_port())) as taken:
        monkeypatch.setattr(net, "FIRST_PORT", taken.getsockname()[1])
        monkeypatch.setattr(net, "PORTS", 1)
        with pytest.raises(OSError, match="no port between"):
            net.free_port()


def test_who_may_not_adopt_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.SimpleNamespace(prctl=lambda *_args: -1)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_options: library)
    with pytest.raises(OSError, match="PR_SET_CHILD_SUBREAPER"):
        processes.adopt_orphans.__wrapped__()


def test_a_process_that_is_gone_has_used_no_time() -> None:
    assert processes.cpu_seconds([-1]) == 0


def test_processes_that_may_not_be_looked_at_are_known_by_their_parents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As those that another user runs on macOS."""

    def denied(*_: object) -> Any:
        raise psutil.AccessDenied

    for name in ("environ", "cmdline"):
        monkeypatch.setattr(psutil.Process, name, denied)
    processes.adopt_orphans()  # For the test to reap the child, which on macOS another does.
    monkeypatch.setattr(sys, "platform", "darwin")
    code = (
        "import os, signal\nif os.fork() == 0:\n    os.setsid()\n    print('ready', flush=True)\n"
    )
    with Server(sys.executable, "-c", code + "signal.pause()") as server:
        server.wait_for_text("ready")
        (child,) = server.descendants()
        server.signal(signal.SIGTERM)
        outcome = server.finish()
    assert outcome.orphans == (child,)
    pid, name = child.split()
    assert name == psutil.Process().name()
    assert not psutil.pid_exists(int(pid))


def test_a_number_with_a_new_owner_is_no_parent() -> None:
    class Known:
        def __init__(self, pid: int, parent: int) -> None:
            self.pid, self.parent = pid, parent

        def ppid(self) -> int:
            return self.parent

    child: Any = Known(11, parent=10)
    owner: Any = Known(10, parent=1)
    for others, found in (({child: 6.0}, [child]), ({owner: 5.0, child: 6.0}, [])):
        family = processes.Family(("name", "value"))
        family._born = {10: 1.0}
        assert family._children([], others) == found


def test_without_root_there_is_no_private_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not shm.can_unshare.__wrapped__()


def test_output_that_goes_on_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    reading = output.Output(reader)
    join = reading._thread.join
    monkeypatch.setattr(reading._thread, "join", lambda _timeout: join(0))
    reading.close()
    os.write(writer, b"more")
    assert reading.wait_for("more", 1, 10)
    os.close(writer)
    join(10)
    reading.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)


def test_what_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    with Server(sys.executable, "-c", "import signal; signal.pause()") as server:
        with pytest.raises(ServerError, match="no answer in"):
            server.wait_until_ready(0.1)
        with pytest.raises(ServerError, match="not watched after"):
            server.wait_until_watched(tmp_path, 0.1)


def test_a_signal_to_a_server_that_has_ended_goes_nowhere() -> None:
    with Server(sys.executable, "-c", "") as server:
        assert eventually(lambda: server.has_ended, 20)
        server.signal(signal.SIGTERM)
        assert server.finish().status == 0
