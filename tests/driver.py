"""What the tests of the lifespans share: a server that does nothing else."""

from __future__ import annotations

import multiprocessing
import signal
from typing import TYPE_CHECKING, Any

import anyio

from asgi_mpclean import MPCleanLifespan, Registry
from asgi_mpclean._shutdown.signals.handler import chained, is_default

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asgi_mpclean import CleanupReport

SPAWN = multiprocessing.get_context("spawn")
COMPLETE = ["startup.complete", "cleaned", "shutdown.complete"]


async def nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """Be an app."""


class Driver:
    """Runs an app's lifespan as a server does, and keeps the log."""

    def __init__(self, **options: Any) -> None:
        self.log: list[str] = []
        self.registry = Registry()
        self.mail = self.registry.register(SPAWN.Queue())
        self.options = {"registry": self.registry, "on_report": self._on_report, **options}
        self.state: dict[str, Any] = {}

    def _on_report(self, _report: CleanupReport) -> None:
        self.log.append("cleaned")

    def wrap(self, app: Any) -> MPCleanLifespan:
        return MPCleanLifespan(app, **self.options)

    async def run(
        self, app: Any, *, shutdown: bool = True, signals: Iterable[signal.Signals] = ()
    ) -> None:
        """Say startup, and shutdown once it has started; without shutdown, be cancelled.

        Between the two come the signals.
        """
        started = anyio.Event()
        asked = 0

        async def receive() -> dict[str, str]:
            nonlocal asked
            asked += 1
            if asked == 1:
                return {"type": "lifespan.startup"}
            if not shutdown:
                await anyio.sleep_forever()
            await started.wait()
            for number in signals:
                signal.raise_signal(number)
            return {"type": "lifespan.shutdown"}

        async def send(message: dict[str, Any]) -> None:
            self.log.append(message["type"].removeprefix("lifespan."))
            started.set()

        async with anyio.create_task_group() as tasks:
            scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}

            async def serve() -> None:
                try:
                    await app(scope, receive, send)
                except Exception as error:  # noqa: BLE001 - a server logs it
                    self.log.append(f"raised {error}")
                finally:
                    started.set()

            tasks.start_soon(serve)
            if not shutdown:
                await started.wait()
                tasks.cancel_scope.cancel()


def over_default(handler: Any) -> Any:
    """Return SIG_DFL for a guard of ours over it, which equals that, but not in PyPy."""
    known = chained(handler)
    return signal.SIG_DFL if known is not None and is_default(known.previous) else handler


def run(driver: Driver, app: Any, backend: str, **how: Any) -> list[str]:
    async def main() -> None:
        with anyio.fail_after(20):
            await driver.run(app, **how)

    anyio.run(main, backend=backend)
    return driver.log


def well_behaved(driver: Driver) -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        for stage in ("startup", "shutdown"):
            message = await receive()
            assert message["type"] == f"lifespan.{stage}"
            driver.log.append(f"app {stage}")
            await send({"type": f"lifespan.{stage}.complete"})

    return app
