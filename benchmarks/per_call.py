"""Measure what each way to wrap an ASGI app adds to one http call; run.py starts this."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import TYPE_CHECKING, Any

from asgi_mpclean import MPCleanLifespan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

CALLS = 20_000
ROUNDS = 41


async def bare(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Answer nothing: what is measured is the way here."""


def plain_function(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Return the app's coroutine: the least a wrapper can do."""
    return bare(scope, receive, send)


async def receive_nothing() -> Message:
    """Stand in for a server's receive."""
    return {}


async def send_nothing(_message: Message) -> None:
    """Stand in for a server's send."""


async def seconds_per_call(app: ASGIApp) -> float:
    """Time one round of calls."""
    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {}}
    started = time.perf_counter()
    for _ in range(CALLS):
        await app(scope, receive_nothing, send_nothing)
    return (time.perf_counter() - started) / CALLS


async def measure() -> dict[str, float]:
    """Time all of them in turns, so that a slow moment of the machine meets each; medians."""
    apps: dict[str, ASGIApp] = {
        "bare": bare,
        "plain_function": plain_function,
        "MPCleanLifespan": MPCleanLifespan(bare),
    }
    rounds: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(ROUNDS):
        for name, app in apps.items():
            rounds[name].append(await seconds_per_call(app))
    return {name: statistics.median(seconds) for name, seconds in rounds.items()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure())))
