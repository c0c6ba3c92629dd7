"""What a queue's feeder thread has done."""

from __future__ import annotations

import time
from typing import Any

from asgi_mpclean import _cpython


def wait_until_sent(queue: Any) -> None:
    """Wait until the feeder has sent everything."""
    until = time.monotonic() + 10
    while not _cpython.feeder_is_idle(queue, 1) and time.monotonic() < until:
        time.sleep(0.001)


def wait_until_taken(queue: Any) -> None:
    """Wait until the feeder has everything in hand that it can."""
    until = time.monotonic() + 10
    while queue._buffer and time.monotonic() < until:
        time.sleep(0.001)
