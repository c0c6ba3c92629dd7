"""Why a command cannot be traced."""

from __future__ import annotations


class TraceError(Exception):
    """The command cannot be traced; the text says why.

    Attributes:
        status: The exit status for it.
    """

    def __init__(self, text: str, status: int = 2) -> None:
        """Keep both."""
        super().__init__(text)
        self.status = status
