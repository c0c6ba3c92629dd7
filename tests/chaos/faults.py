"""The faults that are injected, by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import app_faults as app
import timing_faults as timing
import worker_faults as worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from world import World

METHODS = ("spawn", "forkserver", "fork")


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way in which things go wrong.

    Attributes:
        inject: Has it go wrong, in a process that is given up for it.
        methods: The start methods with which it is tried on its own.
        combines: Whether it is also tried together with others.
        own_shm: Whether it needs a small `/dev/shm`.
        not_with: A fault that it is not tried together with.
        says: What somebody else is allowed to print.
    """

    inject: Callable[[World], None]
    methods: tuple[str, ...] = ("spawn",)
    combines: bool = True
    not_with: str = ""
    own_shm: bool = False
    says: str = ""


FAULTS = {
    # Workers.
    "killed inside get": Fault(worker.killed_in_get, METHODS),
    "killed inside get, an item half read": Fault(worker.killed_in_the_middle_of_get, METHODS),
    "killed inside put, a frame half written": Fault(worker.killed_in_mid_frame, METHODS),
    "killed at any moment of put": Fault(worker.killed_while_writing, METHODS),
    "killed holding the writers' lock": Fault(worker.killed_with_write_lock, METHODS),
    "killed inside a JoinableQueue's condition": Fault(worker.killed_in_condition, METHODS),
    "killed inside Event.wait": Fault(worker.killed_in_wait, METHODS),
    "killed after put": Fault(worker.killed_after_writing, METHODS),
    "never done with put": Fault(worker.slow_put, METHODS),
    "stopped inside get": Fault(worker.stopped, METHODS),
    "stopped, a frame half written": Fault(worker.stopped_in_mid_frame, METHODS),
    "ignores SIGTERM": Fault(worker.stubborn, METHODS),
    "forks": Fault(worker.forking, METHODS),
    "exits between two looks": Fault(worker.ending, METHODS),
    # Whose semaphores they are is read from /proc, and that takes a descriptor.
    "owns semaphores": Fault(worker.owning_semaphores, METHODS, not_with="no descriptor left"),
    # Helpers and limits of the system.
    "resource tracker killed": Fault(
        worker.tracker_killed,
        ("spawn", "forkserver"),
        says="resource_tracker: process died unexpectedly, relaunching",
    ),
    "semaphore already unlinked": Fault(app.semaphore_unlinked, ("spawn", "forkserver")),
    "no descriptor left": Fault(app.descriptors_used_up, METHODS),
    "/dev/shm full": Fault(app.shm_full, combines=False, own_shm=True),
    "a very long frame": Fault(app.huge_frame, combines=False),
    # Items and callbacks.
    "unpickling raises": Fault(app.unpickling_raises),
    "unpickling imports": Fault(app.unpickling_imports),
    "unpickling sleeps": Fault(app.unpickling_sleeps),
    "on_item raises": Fault(app.on_item_raises),
    "on_item blocks": Fault(app.on_item_blocks),
    "on_item registers": Fault(app.on_item_registers),
    "on_item cleans up": Fault(app.on_item_cleans),
    # Who cleans up, and when.
    "ten threads clean up": Fault(app.ten_threads),
    "a signal at each step": Fault(timing.signal_at_each_step),
    "fork in the middle": Fault(app.fork_in_the_middle),
    "exit from a thread": Fault(timing.exit_from_a_thread),
    # Alone, as two clean-ups one after the other may take twice the time.
    "interpreter finalising": Fault(timing.interpreter_finalising, combines=False),
}
