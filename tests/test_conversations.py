"""Conversations of a server with an app that says more, less or something else than expected.

Those of apps that keep to the specification are in test_lifespan.py.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest
from driver import COMPLETE, Driver, run

RAISED = "raised no database"

# What the app does, step by step: "<" is a message that it receives, SIGTERM a signal that comes;
# and what the server hears of it, with the moment of the clean-up.
CONVERSATIONS = [
    # Less than expected.
    ("<", COMPLETE),
    ("< startup.complete <", COMPLETE),
    ("< startup.complete raises", ["startup.complete", "cleaned", RAISED]),
    ("raises", COMPLETE),  # Nothing was said to it: it may know no lifespan.
    # More than expected.
    (
        "< startup.complete startup.complete < shutdown.complete",
        ["startup.complete", "startup.complete", "cleaned", "shutdown.complete"],
    ),
    ("< startup.complete shutdown.complete", COMPLETE),
    ("< startup.complete shutdown.failed", ["startup.complete", "cleaned", "shutdown.failed"]),
    (
        "< startup.complete < shutdown.complete raises",
        ["startup.complete", "cleaned", "shutdown.complete", RAISED],
    ),
    # In another order.
    ("startup.complete < < shutdown.complete", COMPLETE),
    ("startup.complete", COMPLETE),
    ("startup.failed", ["cleaned", "startup.failed"]),
    # Told to stop before it has started.
    ("< SIGTERM", COMPLETE),
    ("< SIGTERM startup.complete", ["cleaned", "startup.complete", "shutdown.complete"]),
    ("< SIGTERM startup.complete <", ["cleaned", "startup.complete", "shutdown.complete"]),
    ("< SIGTERM startup.complete < raises", ["cleaned", RAISED]),
    ("< SIGTERM startup.failed", ["cleaned", "startup.failed"]),
    ("< SIGTERM raises", ["cleaned", RAISED]),
]


def app_of(steps: str) -> Any:
    """Make the app that takes these steps."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        for step in steps.split():
            if step == "<":
                await receive()
            elif step == "SIGTERM":
                signal.raise_signal(signal.SIGTERM)
            elif step == "raises":
                msg = "no database"
                raise OSError(msg)
            else:
                await send({"type": f"lifespan.{step}"})

    return app


@pytest.mark.parametrize(("steps", "log"), CONVERSATIONS)
def test_a_conversation(steps: str, log: list[str]) -> None:
    found = signal.signal(signal.SIGTERM, lambda _number, _frame: None)  # As a server has one.
    try:
        driver = Driver()
        assert run(driver, driver.wrap(app_of(steps)), "asyncio") == log
    finally:
        signal.signal(signal.SIGTERM, found)
