"""What a handler does with a signal: a pure function of what is known when it comes."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Moment(NamedTuple):
    """What is known when a signal comes.

    Attributes:
        held_back: A clean-up is under way in the main thread.
        out_of_place: A fork has inherited the handler, or nobody needs it any more.
        in_forked_worker: This is a worker by fork, in which no server runs, and it is SIGTERM.
        kills: The signal would kill the process, were it not for handlers of ours.
        making: A semaphore, a block of memory or a process is just being made.
        repeated: The same signal has come before, long enough ago to be a second wish.
        server_decides: The handler below is a server's that tells by a flag whether it is forced.
    """

    held_back: bool = False
    out_of_place: bool = False
    in_forked_worker: bool = False
    kills: bool = False
    making: bool = False
    repeated: bool = False
    server_decides: bool = False


class Action(enum.Enum):
    """What a handler does."""

    HOLD_BACK = "raise it again at the end of the clean-up"
    DIE = "let the default kill this process"
    FORWARD = "call the handler below, and nothing else"
    POSTPONE = "have it come again in a moment"
    CLEAN_THEN_FORWARD = "clean up, then call the handler below or let the default kill"
    FORWARD_THEN_LOOK = "call the handler below; clean up if the server skips the lifespan's end"


def decide(moment: Moment) -> Action:
    """Decide what to do with a signal."""
    if moment.held_back:
        return Action.HOLD_BACK
    if moment.out_of_place:
        return Action.DIE if moment.in_forked_worker else Action.FORWARD
    if moment.kills and moment.making:
        return Action.POSTPONE
    if moment.kills or (moment.repeated and not moment.server_decides):
        return Action.CLEAN_THEN_FORWARD
    return Action.FORWARD_THEN_LOOK
