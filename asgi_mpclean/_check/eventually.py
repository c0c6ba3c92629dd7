"""Waiting for what nothing tells of: asking again and again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(condition: Callable[[], T], timeout: float, *, every: float = 0.02) -> T:
    """Ask again until the answer is true or the time is over; return the last answer.

    Args:
        condition: What is asked.
        timeout: Seconds to go on asking.
        every: Seconds between two questions.

    Returns:
        The last answer, false if it never came true.
    """
    deadline = time.monotonic() + timeout
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(every)
    return answer
