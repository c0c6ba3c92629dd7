"""When the watchdog looks on; what it then does is shown in harm/test_progress.py."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from asgi_mpclean import mpclean_lifespan
from asgi_mpclean._asgi.session import Session
from asgi_mpclean._asgi.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


def test_what_the_app_leaves_to_the_loop_has_its_turn_under_the_watchdog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However quick the clean-up is: what was left may wait for what only the library ends."""
    log: list[str] = []
    found = Watchdog.stop

    def begin_and_end(session: Session) -> threading.Event:
        session._work()
        ended = threading.Event()
        ended.set()
        return ended

    def stop(watchdog: Watchdog) -> None:
        log.append("looks no more")
        found(watchdog)

    @contextlib.asynccontextmanager
    async def leaves_something(_app: Any) -> AsyncIterator[None]:
        yield
        asyncio.get_running_loop().call_soon(log.append, "left to the loop")

    async def main() -> None:
        async with mpclean_lifespan(leaves_something)(Starlette()):
            pass

    monkeypatch.setattr(Session, "_begin", begin_and_end)
    monkeypatch.setattr(Watchdog, "stop", stop)
    asyncio.run(main())
    assert log == ["left to the loop", "looks no more"]
