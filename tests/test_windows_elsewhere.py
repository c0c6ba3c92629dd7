"""On any other system, what only Windows tells is not known, and what only it does is not done."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from asgi_mpclean._cpython import windows

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="see tests/windows")


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (windows.peek, (0, 0)),
        (lambda fd: windows.read_message(fd, 1), None),
        (windows.maker_of_pipe, None),
        (windows.cpu_seconds_of, 0.0),
        (lambda _: windows.ignore_ctrl_c(), False),
        (lambda _: windows.heed_ctrl_c(), None),
    ],
)
def test_nothing_is_known_and_nothing_done(ask: Callable[[int], object], expected: object) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x")
    try:
        assert ask(reader) == expected
        assert os.read(reader, 2) == b"x"
    finally:
        os.close(reader)
        os.close(writer)
