"""Why something cannot be checked."""

from __future__ import annotations


class CheckError(Exception):
    """What was asked for cannot be checked; the text says why."""


class ServerError(CheckError):
    """The server did not come as far as it was waited for."""
