"""The state of the clean-ups of a process: one object, which is reset in a child by fork.

It is small and imports little, as a worker that only imports the app imports it too.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import threading
import weakref

from asgi_mpclean._cpython.fork import PerProcess
from asgi_mpclean._switch import DISABLED as DISABLED  # noqa: PLC0414 - asked as `state.DISABLED`

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from asgi_mpclean._report import CleanupReport
    from asgi_mpclean._resources.base import Entry

    OnReport = Callable[[CleanupReport], object]

    class Registered(Protocol):
        """What a clean-up asks of a registry."""

        def __len__(self) -> int:
            """Return how many resources are registered."""

        def has_executors(self) -> bool:
            """Tell whether Python would wait at its exit for the jobs of something registered."""

        def take_executors(self) -> list[Entry]:
            """Hand over the executors alone."""

        def queues(self) -> list[Entry]:
            """Return the queues, which stay registered."""

        def entry_of(self, resource: object) -> Entry | None:
            """Return a resource with its options; None if it is not registered here."""

        def begin_shutdown(self) -> list[Entry]:
            """Refuse registrations from now on, and hand over what is registered."""

        def end_shutdown(self) -> None:
            """Accept registrations again."""

    class Lifetime(Protocol):
        """A lifespan that is open.

        Attributes:
            registry: What is registered in its course.
            loop: The event loop that it runs in.
        """

        registry: Any
        loop: object

    class Restart(Protocol):
        """A restart that was asked for."""

        @property
        def by_signal(self) -> bool:
            """Whether the server can only be asked by a signal."""

        def perform(self) -> None:
            """Clean up, and begin anew; does not return."""

    class Running(Protocol):
        """What others may ask of the clean-up that is under way."""

        def hurry(self) -> None:
            """Give the workers less time from now on."""


DEFAULT_TIMEOUT_SECONDS = 5.0

# The paths in the command line of this program are relative to the folder it was started in.
STARTED_IN: str | None = None
with contextlib.suppress(OSError):
    STARTED_IN = os.getcwd()


class Policy:
    """How to clean up where no lifespan does it: at a signal before any, and at the exit.

    Args:
        timeout: Seconds.
        discover_at_exit: Clean up also what nobody registered at the exit of the interpreter. A
            script without an app is left to Python there, which waits for its workers.
        discover_at_signal: The same at a signal that kills.
        on_report: Called with the report.
        serving: An app's lifespan has begun in this process. A worker that only imports the app
            ends as Python has it end: it waits until all that it has put has been read.

    Attributes:
        chosen: An app has set it.
    """

    chosen = False

    def __init__(
        self,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        *,
        discover_at_exit: bool = False,
        discover_at_signal: bool = True,
        on_report: OnReport | None = None,
        serving: bool = False,
    ) -> None:
        self.timeout = timeout
        self.discover_at_exit = discover_at_exit
        self.discover_at_signal = discover_at_signal
        self.on_report = on_report
        self.serving = serving


class State(PerProcess):
    """What this process knows of its clean-ups.

    Attributes:
        slot: Held by the thread that cleans up.
        threads: The threads that clean up, or wait for their turn.
        running: The clean-up that is under way.
        insists: Somebody insists, by a second signal, that the clean-up of this moment be quick.
        cannot_go_on: Something has been cleaned up as a signal was going to kill this process.
        caught: The signals that have been forwarded to somebody's handler.
        wakeup_fds: What `signal.set_wakeup_fd` knows while no event loop listens: a descriptor of
            ours, if any.
        came: The signals that have come while they are held back; None while they are not.
        policy: How to clean up where no lifespan does it.
        exit_until: Until when (`time.monotonic()`) a thread that runs the exit functions may take
            to end the process.
        spent: Seconds that clean-ups have taken since a lifespan began, of the time for them all.
        ended: `time.monotonic()` when the latest of them had ended; infinite when only the other
            part of the same exit is to come.
        kept: Unregistered resources, kept alive where a server ends a process without a signal.
        sessions: The lifespans that are open.
        guard: Watches the signals that would kill without a word.
        guarded: The registries whose end takes the guard away, if they were the last.
        handled: The signals that we have had a handler for.
        reported: A clean-up has been reported, be it that there was nothing to do.
        restart: The restart that has been asked for.
        restarting: Held by the thread that performs it.
        registries: All registries. A child by fork goes on using them, emptied.
        watches: All watches over signals. A child by fork inherits their handlers.
    """

    def __init__(self) -> None:
        self.registries: weakref.WeakSet[Any] = weakref.WeakSet()
        self.watches: weakref.WeakSet[Any] = weakref.WeakSet()
        self.guarded: weakref.WeakSet[Any] = weakref.WeakSet()
        self.handled: set[int] = set()
        super().__init__()

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        """Be as in a new process."""
        self.slot = _thread.allocate_lock()
        self.threads: set[int] = set()
        self.running: Running | None = None
        self.insists = False
        self.cannot_go_on = False
        self.caught: set[int] = set()
        self.wakeup_fds = {-1}
        self.came: list[int] | None = None
        self.policy = Policy()
        self.exit_until = 0.0
        self.spent = self.ended = 0.0
        self.kept: list[object] = []
        self.sessions: list[Lifetime] = []
        self.guard: Any = None
        self.reported = False
        self.restart: Restart | None = None
        self.restarting = _thread.allocate_lock()


STATE = State()


def listed(things: weakref.WeakSet[Any]) -> list[Any]:
    """Return what a weak set holds; before 3.14 it cannot be gone through while it grows."""
    while True:
        with contextlib.suppress(RuntimeError):
            return list(things)


def set_policy(policy: Policy) -> None:
    """Set how to clean up where no lifespan does it; the latest app decides."""
    policy.chosen = True
    policy.serving |= STATE.policy.serving
    STATE.policy = policy


def perform_restart() -> None:
    """Run the program again, if that has been asked for."""
    if STATE.restart is not None:
        with STATE.restarting:
            STATE.restart.perform()


def end_session(session: Lifetime, timeout: float, *, signal_came: bool) -> None:
    """Note that a lifespan has ended; after the last, what is left of a restart has `timeout`.

    Args:
        session: The lifespan.
        timeout: Seconds.
        signal_came: Somebody wants the process to end.
    """
    if session in STATE.sessions:
        STATE.sessions.remove(session)
    if STATE.restart is not None and signal_came and not STATE.restart.by_signal:
        STATE.restart = None
    elif STATE.restart is not None and not STATE.sessions:
        # A thread that is not a daemon could keep the program from ending.
        timer = threading.Timer(timeout, perform_restart)
        timer.daemon = True
        with contextlib.suppress(RuntimeError):  # There are too many threads.
            timer.start()


# As early as possible, as the function that is registered first is called last.
atexit.register(perform_restart)
