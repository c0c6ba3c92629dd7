"""What a server and an app say to each other during a lifespan, with us in between.

Messages are passed on; those that the app does not send are sent in its place. The clean-up comes
after the app's own shutdown and before the server is told of that. Some servers that are told to
stop before they have started skip the shutdown. Then the app is asked to shut down at once, and the
server is told afterwards that the app has started.
"""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .session import Session
    from .types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("asgi_mpclean")

# How often (seconds) to check whether a thread that is ending the process has ended it.
EXIT_LOOK_SECONDS = 0.02


class Stage(enum.Enum):
    """How far the server and the app have come."""

    NEW = "nothing has been said"
    STARTING = "the server has asked the app to start"
    STARTED = "the server has been told that the app has started"
    STOPPED_EARLY = "the app has started, and been told to stop, and the server told nothing"
    STOPPING = "the server has asked the app to stop"
    STOPPED = "the server has been told that the app has stopped"
    FAILED = "the server has been told that the app has failed"


# The stage that a message leads to, by the stage that it comes in. Others change nothing.
TRANSITIONS = {
    (Stage.NEW, "lifespan.startup"): Stage.STARTING,
    # An app that sends before it has received anything.
    (Stage.NEW, "lifespan.startup.complete"): Stage.STARTED,
    (Stage.NEW, "lifespan.startup.failed"): Stage.FAILED,
    (Stage.STARTING, "lifespan.startup.complete"): Stage.STARTED,
    (Stage.STARTING, "lifespan.startup.failed"): Stage.FAILED,
    (Stage.STOPPED_EARLY, "lifespan.startup.complete"): Stage.STARTED,
    (Stage.STARTED, "lifespan.shutdown"): Stage.STOPPING,
    (Stage.STARTED, "lifespan.shutdown.complete"): Stage.STOPPED,
    (Stage.STARTED, "lifespan.shutdown.failed"): Stage.FAILED,
    (Stage.STOPPING, "lifespan.shutdown.complete"): Stage.STOPPED,
    (Stage.STOPPING, "lifespan.shutdown.failed"): Stage.FAILED,
}


class Conversation:
    """One lifespan of an app.

    Args:
        app: The app.
        scope: As the server gave it.
        receive: The same.
        send: The same.
        session: Watches the signals, and cleans up.
    """

    def __init__(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, session: Session
    ) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._session = session
        self._stage = Stage.NEW
        self._app_received = False

    async def run(self) -> None:
        """Run the app, then clean up and send the messages that the app has not sent."""
        try:
            await self._run_app()
            await self._answer_for_app()
        except GeneratorExit:  # Nothing can be awaited: the event loop is no more.
            self._session.end_at_once()
            raise
        finally:
            await self._session.end()
            self._session.give_kept_stop()

    async def _run_app(self) -> None:
        try:
            await self._app(self._scope, self._receive_for_app, self._send_from_app)
        except Exception:
            if self._app_received:
                raise
            logger.debug("the app knows no lifespan", exc_info=True)

    async def _receive_for_app(self) -> Message:
        self._app_received = True
        if self._stage is Stage.STOPPED_EARLY:
            message: Message = {"type": "lifespan.shutdown"}
        else:
            message = await self._hear()
        if message["type"] == "lifespan.shutdown":
            await self._begin_to_stop()
        return message

    async def _send_from_app(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and self._session.told_to_stop:
            self._stage = Stage.STOPPED_EARLY
            return
        if kind == "lifespan.startup.complete":
            self._session.has_started()
        else:
            await self._session.end()
        if self._stage is Stage.STOPPED_EARLY:
            self._session.give_early_stops()
            await self._say("lifespan.startup.complete")
            if kind == "lifespan.shutdown.complete":
                return  # The server has not asked for it yet.
        await self._say(kind, message)

    async def _begin_to_stop(self) -> None:
        # A thread may be ending the process, and the app with it: it must not be ended twice.
        while self._session.is_ended_by_thread():  # noqa: ASYNC110 - it ends with the process
            await anyio.sleep(EXIT_LOOK_SECONDS)
        self._session.is_stopping()

    async def _answer_for_app(self) -> None:
        """Go on in the place of the app, which has returned."""
        while self._stage in ANSWERS:
            await ANSWERS[self._stage](self)

    async def _hear(self) -> Message:
        message = await self._receive()
        self._move(message["type"])
        if self._stage is Stage.STOPPING:
            self._session.server_has_heard()
        return message

    async def _say(self, kind: str, message: Message | None = None) -> None:
        self._move(kind)
        await self._send(message or {"type": kind})

    def _move(self, kind: str) -> None:
        self._stage = TRANSITIONS.get((self._stage, kind), self._stage)

    async def _hear_only(self) -> None:
        await self._hear()

    async def _say_started(self) -> None:
        self._session.has_started()
        await self._say("lifespan.startup.complete")

    async def _say_stopped(self) -> None:
        self._session.is_stopping()
        await self._session.end()
        await self._say("lifespan.shutdown.complete")

    async def _end_early(self) -> None:
        await self._session.end()
        self._session.give_early_stops()
        await self._say("lifespan.startup.complete")


# What is done in the place of an app that has returned, by the stage in which it did.
ANSWERS: dict[Stage, Callable[[Conversation], Awaitable[None]]] = {
    Stage.NEW: Conversation._hear_only,  # noqa: SLF001 - its own table
    Stage.STARTING: Conversation._say_started,  # noqa: SLF001
    Stage.STARTED: Conversation._hear_only,  # noqa: SLF001
    Stage.STOPPED_EARLY: Conversation._end_early,  # noqa: SLF001
    Stage.STOPPING: Conversation._say_stopped,  # noqa: SLF001
}
