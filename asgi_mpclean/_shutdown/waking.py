"""Threads of the app that wait in the `get` of a queue that is over: nothing will come there.

A thread of an executor is waited for by a task or by somebody else, who would be told of anything
that is raised in it. So it is woken when that executor is shut down, or the program has come to its
end: before that, nobody needs it to end. Then it ends by SystemExit, which nobody is told of.
"""

from __future__ import annotations

import _thread
import time
from typing import TYPE_CHECKING, NamedTuple

from asgi_mpclean._cpython.discovery import threads_in_get
from asgi_mpclean._cpython.endings import (
    end_thread,
    is_borrowed,
    threads_of_executors,
    threads_waited_for,
)
from asgi_mpclean._cpython.queues import close_pipe
from asgi_mpclean._cpython.thread_errors import expect_end_of

if TYPE_CHECKING:
    import threading

    from asgi_mpclean._resources.queue import QueueCloser

# How often (seconds) it is looked whether it is time; the longer it lasts, the less often.
LOOK_SECONDS = 0.02
SELDOM_SECONDS = 0.25
# How much longer each look waits than the one before.
SLOWER = 1.1


class Waiting(NamedTuple):
    """A queue and the threads that wait in its `get`."""

    queue: QueueCloser
    threads: list[threading.Thread]


def wake_readers(waiting: list[Waiting], *, going_away: bool) -> None:
    """Let threads end that wait in queues, each when nobody is hurt; in a thread of its own.

    Args:
        waiting: The queues, with the threads that wait in them.
        going_away: The process ends next. Daemon threads end with it, and others at the very end;
            otherwise a thread that is nobody's is ended now, and its queue closed.
    """
    if going_away:
        waiting = [
            Waiting(queue, rest)
            for queue, threads in waiting
            if (rest := [thread for thread in threads if not thread.daemon])
        ]
    for queue, threads in waiting:
        if any(is_borrowed(thread) for thread in threads):
            close_pipe(queue.queue, only_writer=True)  # What waits for it gets an EOFError.
    if not waiting:
        return
    try:
        _thread.start_new_thread(_wake, (waiting, going_away))
    except RuntimeError:  # The interpreter is ending.
        for queue, _ in waiting:
            close_pipe(queue.queue, only_writer=True)


def _wake(waiting: list[Waiting], going_away: bool) -> None:  # noqa: FBT001 - a thread's argument
    pause, woken = LOOK_SECONDS, set[int]()
    while waiting:
        inside = threads_in_get()
        left = []
        for queue, threads in waiting:
            still = [t for t in inside.get(id(queue.queue), []) if t in threads]
            if still:
                left.append(Waiting(queue, still))
            elif not going_away:
                queue.close()
        for queue, threads in left:
            if ready := [t for t in _ready(threads, going_away=going_away) if t.ident not in woken]:
                woken.update(thread.ident or 0 for thread in ready)
                for thread in ready:
                    if not end_thread(thread):
                        expect_end_of(thread)  # It gets an EOFError instead.
                close_pipe(queue.queue, only_writer=True)
        waiting = left
        time.sleep(pause)
        pause = min(pause * SLOWER, SELDOM_SECONDS)


def _ready(threads: list[threading.Thread], *, going_away: bool) -> list[threading.Thread]:
    """Return those of the threads that nobody is hurt by the end of."""
    due, busy = threads_waited_for(), threads_of_executors()
    return [
        thread
        for thread in threads
        if not is_borrowed(thread)
        and (due is None or thread.ident in due or (not going_away and thread.ident not in busy))
    ]
