"""The options that more than one entry point takes, checked where the user gave them."""

from __future__ import annotations

import math
import signal

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

DEFAULT_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def check_timeout(timeout: object) -> float:
    """Return `timeout` if it is a finite number of seconds above zero.

    Raises:
        ValueError: If it is not.
    """
    if (
        isinstance(timeout, bool)
        or not isinstance(timeout, (int, float))
        or not 0 < timeout < math.inf
    ):
        msg = f"timeout must be a finite number of seconds above 0, not {timeout!r}"
        raise ValueError(msg)
    return float(timeout)


def check_signals(signals: Iterable[Any]) -> tuple[int, ...]:
    """Return `signals` as numbers.

    Raises:
        TypeError: If it is not a collection of signals.
        ValueError: If one of them cannot be handled.
    """
    if isinstance(signals, (str, bytes, int)) or not hasattr(signals, "__iter__"):
        msg = f"signals must be a collection such as (SIGINT, SIGTERM), not {signals!r}"
        raise TypeError(msg)
    numbers = []
    for value in signals:
        if isinstance(value, bool) or not isinstance(value, int):
            msg = f"signals must hold signals such as signal.SIGTERM, not {value!r}"
            raise TypeError(msg)
        never = {getattr(signal, "SIGKILL", None), getattr(signal, "SIGSTOP", None)}
        if value not in signal.valid_signals() or value in never:
            msg = f"signals must hold signals that can be handled, not {value!r}"
            raise ValueError(msg)
        numbers.append(int(value))
    return tuple(numbers)


def check_callback(name: str, value: object) -> None:
    """Check an optional callback.

    Raises:
        TypeError: If it cannot be called, or is a coroutine function, which nobody would await.
    """
    if value is None:
        return
    if not callable(value):
        msg = f"{name} must be callable, not {value!r}"
        raise TypeError(msg)
    import inspect  # noqa: PLC0415 - a worker that only imports the app is spared it

    if inspect.iscoroutinefunction(value):
        msg = f"{name} must be a plain function, not the coroutine function {value!r}"
        raise TypeError(msg)
