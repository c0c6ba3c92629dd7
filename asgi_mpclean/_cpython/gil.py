"""Whether threads take turns, as they do under the global interpreter lock (GIL), or run at once.

What this library calls one step, such as `list.pop`, `dict.pop`, `dict.popitem`, `deque.popleft` or
the copy of a list or a dictionary or `list(dictionary.values())`, is one in a free-threaded build
as well, where each of these objects has a lock of its own: see "Thread Safety Guarantees" in the
documentation of Python. So is `next` of an `itertools.count` since 3.14. What takes several steps,
be it in one function written in C, is not; who needs that says why it holds.
"""

from __future__ import annotations

import sys


def is_enabled() -> bool:
    """Tell whether only one thread runs Python code at a time."""
    # Before 3.13 there was nothing to ask, nor another answer. It is asked each time, as the import
    # of an extension module can switch the GIL on.
    return not hasattr(sys, "_is_gil_enabled") or bool(sys._is_gil_enabled())
