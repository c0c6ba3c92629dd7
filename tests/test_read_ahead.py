"""How much is read of a pipe before `on_item` has taken it, and who else holds the pipe."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from asgi_mpclean._items import holders
from asgi_mpclean._items.holders import is_held_elsewhere
from asgi_mpclean._items.pipe import CHUNK, FrameParser, PipeReader

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (0, 1, 3, 100, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK)


def frame(size: int) -> bytes:
    return struct.pack("!i", size) + bytes(size)


@pytest.mark.parametrize("piece", [1, 3, 4, 5, 4096, CHUNK, 3 * CHUNK])
def test_frames_that_nobody_wants_are_counted_as_those_that_are_kept(piece: int) -> None:
    sizes = random.Random(1).choices(SIZES, k=20 if piece > 5 else 3)  # noqa: S311
    data = b"".join(map(frame, sizes))
    pieces = [data[n : n + piece] for n in range(0, len(data), piece)]
    keeps, skips = FrameParser(), FrameParser(skips=True)
    assert [len(keeps.feed(p)) for p in pieces] == [len(skips.feed(p)) for p in pieces]
    assert not keeps.torn
    assert not skips.torn


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize(
    ("room", "complete"), [(0, 0), (1, 1), (4, 1), (104, 1), (105, 2), (208, 2), (1000, 5)]
)
def test_no_frame_is_begun_for_which_there_is_no_room(
    room: int, complete: int, pipe: tuple[int, int]
) -> None:
    os.write(pipe[1], b"".join(frame(100) for _ in range(5)))
    reader = PipeReader(lambda: pipe[0])
    assert len(reader.read(room)) == complete
    assert not reader.torn
    assert len(reader.read()) == 5 - complete


def test_a_frame_that_has_begun_is_read_to_its_end(pipe: tuple[int, int]) -> None:
    whole = frame(100)
    os.write(pipe[1], whole[:2])
    reader = PipeReader(lambda: pipe[0])
    assert reader.read() == []
    os.write(pipe[1], whole[2:] + whole)
    assert reader.read(0) == [whole[4:]]
    assert not reader.torn
    assert reader.read(0) == []
    assert reader.read() == [whole[4:]]


@pytest.mark.parametrize(
    ("end", "to_read", "held"),
    [(0, True, True), (0, False, True), (1, True, False), (1, False, True)],
)
def test_another_process_that_holds_a_pipe_is_seen(
    end: int, to_read: bool, held: bool, pipe: tuple[int, int]
) -> None:
    holders._look.reset(forked=False)
    assert is_held_elsewhere(pipe[0], to_read=to_read) is False
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[pipe[end]]) as other:
        holders._look.reset(forked=False)
        assert is_held_elsewhere(pipe[0], to_read=to_read) is held
        other.communicate(b"\n")
    assert is_held_elsewhere(pipe[0], to_read=to_read) is False


def test_where_no_system_tells_who_holds_a_pipe_nobody_knows(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "PROC", "/nowhere")
    assert is_held_elsewhere(pipe[0]) is None


def test_who_cannot_be_looked_at_may_hold_it(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.listdir

    def listdir(path: Any) -> Any:
        if str(path).endswith("/fd"):
            raise PermissionError
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    holders._look.reset(forked=False)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert is_held_elsewhere(pipe[0]) is True
        other.communicate(b"\n")
    holders._look.reset(forked=False)
