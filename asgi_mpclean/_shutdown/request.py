"""What a clean-up is asked for, by which trigger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from .state import STATE

if TYPE_CHECKING:
    from .state import OnReport, Policy, Registered

# The triggers of a clean-up that the app itself has called for.
BY_CALL = ("clean()", "register()")


class Request(NamedTuple):
    """A clean-up that is asked for.

    Attributes:
        trigger: What started it, for the report.
        timeout: Seconds it may take.
        registries: What to clean up; None for all.
        discover: Clean up all registries, and what nobody registered.
        going_away: The process ends next: its threads and descriptors end with it.
        stopping: Somebody has told the program to stop, though it may go on.
        executors_alone: Leave all else as it is; with `discover`, end those that nobody registered.
        on_report: Called with the report.
        report_nothing: Call `on_report` also if there was nothing to do.
        in_handler: A signal handler asks: the code that it interrupts may hold any lock.
        insists: A second signal has come: the clean-up is to be quick.
        start: `time.monotonic()` when the clean-up was triggered; 0 before that.
    """

    trigger: str
    timeout: float
    registries: tuple[Registered, ...] | None = None
    discover: bool = False
    going_away: bool = False
    stopping: bool = False
    executors_alone: bool = False
    on_report: OnReport | None = None
    report_nothing: bool = False
    in_handler: bool = False
    insists: bool = False
    start: float = 0.0

    def begun(self) -> Request:
        """Return this request with the present time as its start, unless it has one."""
        return self if self.start else self._replace(start=time.monotonic())

    @classmethod
    def by_call(
        cls, registries: tuple[Registered, ...], timeout: float, *, discover: bool
    ) -> Request:
        """Ask for what `clean()` does."""
        return cls("clean()", timeout, registries, discover=discover)

    @classmethod
    def at_signal(cls, name: str, policy: Policy) -> Request:
        """Ask for what comes before a signal kills the process."""
        return cls(
            name,
            policy.timeout,
            discover=policy.discover_at_signal,
            going_away=True,
            on_report=policy.on_report,
            in_handler=True,
            insists=STATE.insists,
        )

    @classmethod
    def at_exit(cls, policy: Policy) -> Request:
        """Ask for what comes at the exit of the interpreter."""
        return cls(
            "exit",
            policy.timeout,
            discover=policy.discover_at_exit,
            going_away=True,
            on_report=policy.on_report,
            report_nothing=policy.serving and not STATE.reported,
        )

    @classmethod
    def before_threads_are_joined(cls, policy: Policy) -> Request:
        """Ask for the end of executors, before Python waits for all their jobs."""
        return cls(
            "exit",
            policy.timeout,
            discover=policy.discover_at_exit,
            stopping=True,
            executors_alone=True,
            on_report=policy.on_report,
        )

    @classmethod
    def before_exec(cls, policy: Policy) -> Request:
        """Ask for what comes before another program takes the process over."""
        return cls(
            "exec",
            policy.timeout,
            discover=True,
            going_away=True,
            on_report=policy.on_report,
            in_handler=True,
        )
