"""Signal handlers, found and set without a detour.

Up to Python 3.12, `signal.getsignal` and `signal.signal` look for each handler in an enum first,
and raise and catch an exception as it is none: that made a tenth of the clean-up of one queue.
"""

from __future__ import annotations

import signal
from typing import Any

from .features import AVAILABLE, Feature, c_signal


def get_handler(signum: int) -> Any:
    """Return the handler of a signal, as `signal.getsignal` does."""
    return (c_signal if Feature.HANDLERS in AVAILABLE else signal).getsignal(signum)


def set_handler(signum: int, handler: Any) -> None:
    """Set the handler of a signal, to one that `get_handler` has found or to a function."""
    (c_signal if Feature.HANDLERS in AVAILABLE else signal).signal(signum, handler)
