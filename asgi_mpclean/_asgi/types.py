"""The types of ASGI, for type checkers alone: nothing loads this module while a program runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
# Of anything, as Litestar and Quart have narrower types.
ASGIApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
