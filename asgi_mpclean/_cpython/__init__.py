"""Every private name of CPython that the library relies on, and nothing else.

`multiprocessing` has no public way to take an unsent item back, to leave a feeder thread alone or
to unlink a semaphore. The names used here have been the same from 3.8 to 3.15. Each is checked at
import; where one is missing its `Feature` is off, and the callers use the public way instead
(slower, and leaving semaphores to the interpreter's own exit).
"""

from __future__ import annotations

from .features import AVAILABLE, NAMES, Feature, available_features, has_name
from .processes import (
    ContextProcess,
    at_process_exit,
    executor_pids,
    is_child,
    live_executors,
    pools_and_managers,
    run_exit_functions,
    start_helpers,
    stop_helpers,
)
from .queues import (
    backlog_size,
    belongs_to_executor,
    close,
    close_pipe,
    dumps,
    feeder,
    feeder_is_idle,
    force_write_lock,
    free_slots,
    has_readable_pipes,
    is_closed,
    items_in_flight,
    leave_feeder,
    loads,
    never_put,
    queues_made_here,
    read_lock,
    readable_fd,
    seal,
    take_backlog,
    threads_in_get,
    wake_joiners,
)
from .semaphores import (
    Snapshot,
    note_fork,
    note_tracker,
    semaphore_names_of,
    unlink,
)

__all__ = [
    "AVAILABLE",
    "NAMES",
    "ContextProcess",
    "Feature",
    "Snapshot",
    "at_process_exit",
    "available_features",
    "backlog_size",
    "belongs_to_executor",
    "close",
    "close_pipe",
    "dumps",
    "executor_pids",
    "feeder",
    "feeder_is_idle",
    "force_write_lock",
    "free_slots",
    "has_name",
    "has_readable_pipes",
    "is_child",
    "is_closed",
    "items_in_flight",
    "leave_feeder",
    "live_executors",
    "loads",
    "never_put",
    "note_fork",
    "note_tracker",
    "pools_and_managers",
    "queues_made_here",
    "read_lock",
    "readable_fd",
    "run_exit_functions",
    "seal",
    "semaphore_names_of",
    "start_helpers",
    "stop_helpers",
    "take_backlog",
    "threads_in_get",
    "unlink",
    "wake_joiners",
]
