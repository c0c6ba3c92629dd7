"""What belongs to one process: a child by fork inherits a copy of it, and must not use that.

Whatever the library has to remember is kept in a `PerProcess`. One hook resets all of them in a
child, so that it starts as if the library had just been imported there.
"""

from __future__ import annotations

import os
import weakref


class PerProcess:
    """State that a child by fork starts anew."""

    def __init__(self) -> None:
        _states.add(self)
        self.reset(forked=False)

    def reset(self, *, forked: bool) -> None:
        """Set every attribute to what it is in a new process.

        Args:
            forked: Whether this is a child by fork, rather than a new object.
        """
        raise NotImplementedError


_states: weakref.WeakSet[PerProcess] = weakref.WeakSet()


class _Generation(PerProcess):
    """How often this process, or one that it comes from, was forked.

    A child can tell by it that it is one, at less than the price of asking the system for its pid.

    Attributes:
        count: How often.
        pid: That of this process.
        parent: That of the process that has forked this one, which may have ended since.
    """

    count = 0
    pid = 0
    parent = 0

    def reset(self, *, forked: bool) -> None:
        self.count += forked
        self.parent, self.pid = self.pid, os.getpid()


GENERATION = _Generation()


def was_forked() -> bool:
    """Tell whether this process has inherited objects from another one."""
    return GENERATION.count > 0


def _reset_all() -> None:
    for state in list(_states):
        state.reset(forked=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
