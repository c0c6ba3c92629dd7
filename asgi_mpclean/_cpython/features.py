"""Which private names there are in this Python, checked once, at import."""

from __future__ import annotations

import atexit
import concurrent.futures
import concurrent.futures.process
import enum
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.managers
import multiprocessing.pool
import multiprocessing.process
import multiprocessing.queues
import multiprocessing.resource_tracker
import multiprocessing.shared_memory
import multiprocessing.synchronize
import multiprocessing.util
import signal
import sys
import threading
from typing import Any

_forkserver: Any = multiprocessing.forkserver
_queues: Any = multiprocessing.queues
_sync: Any = multiprocessing.synchronize
_util: Any = multiprocessing.util
_process: Any = multiprocessing.process
_tracker: Any = multiprocessing.resource_tracker
c_signal: Any = sys.modules.get("_signal", signal)


class Feature(str, enum.Enum):
    """A group of private names that stand or fall together."""

    BACKLOG = "take unsent items out of a queue"
    PIPE = "read a queue's pipe under its lock"
    FEEDER = "know what a queue's feeder thread is doing, and leave it alone"
    SEMAPHORES = "unlink named semaphores"
    TRACKER = "unregister many semaphores in one write"
    DISCOVERY = "find what multiprocessing made in this process"
    CHILDREN = "know which process object is a child of whom"
    FRAMES = "know which threads wait in a queue"
    JOINERS = "wake who waits in JoinableQueue.join"
    HANDLERS = "look at signal handlers without a detour"
    BOOTSTRAP = "prepare a child before its code runs"
    POOLS = "cancel the jobs that a pool has not begun, and watch its workers"
    EXECUTORS = "watch the workers of an executor"
    MANAGERS = "kill the server of a manager that does not answer"
    SHARED_MEMORY = "know who made a block of shared memory"
    JOINING = "run something before Python waits for threads and executors, and know that it does"
    EXIT = "run what is left to be run at exit, before a signal kills"
    FORKED_WORKERS = "know a worker by fork from any other fork, before its code runs"
    HELPERS = "end the resource tracker, the fork server and their folder"


NAMES: dict[Feature, tuple[tuple[object, str], ...]] = {
    Feature.BACKLOG: ((_queues.Queue, "_buffer"), (_queues, "_sentinel")),
    Feature.PIPE: (
        (_queues.Queue, "_reader"),
        (_queues.Queue, "_writer"),
        (_queues.Queue, "_rlock"),
        (_queues.Queue, "_wlock"),
        (_queues.Queue, "_sem"),
        (_queues.Queue, "_maxsize"),
        (_queues.Queue, "_opid"),
        (_queues.SimpleQueue, "_reader"),
        (_queues.SimpleQueue, "_writer"),
        (_queues.SimpleQueue, "_rlock"),
        (multiprocessing.connection.Connection, "_handle"),
    ),
    Feature.FEEDER: (
        (_queues.Queue, "_thread"),
        (_queues.Queue, "_jointhread"),
        (_queues.Queue, "_close"),
        (_queues.Queue, "_closed"),
        (_queues.Queue, "_notempty"),
        (threading.Condition, "_waiters"),
        (_util, "_finalizer_registry"),
        (_util.Finalize, "_key"),
    ),
    Feature.SEMAPHORES: (
        (_util, "_finalizer_registry"),
        (_util.Finalize, "_callback"),
        (_util.Finalize, "_args"),
        (_util.Finalize, "_pid"),
        (_util.Finalize, "_key"),
        (_util.Finalize, "_weakref"),
        (_sync.SemLock, "_semlock"),
        (_sync.SemLock, "_cleanup"),
    ),
    Feature.TRACKER: (
        (_tracker, "_resource_tracker"),
        (_tracker.ResourceTracker, "_fd"),
        (_tracker.ResourceTracker, "_pid"),
    ),
    Feature.DISCOVERY: (
        (_util, "_afterfork_registry"),
        (_queues.Queue, "_finalize_join"),
        (threading.Thread, "_args"),
    ),
    Feature.CHILDREN: ((_process, "_children"), (_process.BaseProcess, "_parent_pid")),
    Feature.FRAMES: ((sys, "_current_frames"), (threading, "_active")),
    Feature.JOINERS: (
        (_queues.JoinableQueue, "_cond"),
        (_sync.Condition, "_sleeping_count"),
        (_sync.Condition, "_wait_semaphore"),
    ),
    Feature.HANDLERS: ((c_signal, "getsignal"), (c_signal, "signal")),
    Feature.BOOTSTRAP: (
        (_process.BaseProcess, "_bootstrap"),
        (_process.BaseProcess, "_Popen"),
        (multiprocessing.Process, "_start_method"),
    ),
    Feature.POOLS: (
        (multiprocessing.pool.Pool, "_pool"),
        (multiprocessing.pool.Pool, "_inqueue"),
        (multiprocessing.pool.Pool, "_outqueue"),
        (multiprocessing.pool.Pool, "_worker_handler"),
        (multiprocessing.pool.Pool, "_terminate"),
    ),
    Feature.EXECUTORS: (
        (concurrent.futures.ProcessPoolExecutor, "_processes"),
        (concurrent.futures.ProcessPoolExecutor, "_pending_work_items"),
        (concurrent.futures.ProcessPoolExecutor, "_call_queue"),
        (concurrent.futures.ProcessPoolExecutor, "_broken"),
        (concurrent.futures.ProcessPoolExecutor, "_shutdown_thread"),
        (concurrent.futures.ProcessPoolExecutor, "_shutdown_lock"),
        (concurrent.futures.ProcessPoolExecutor, "_cancel_pending_futures"),
        (concurrent.futures.ProcessPoolExecutor, "_executor_manager_thread"),
        (concurrent.futures.ProcessPoolExecutor, "_executor_manager_thread_wakeup"),
        (concurrent.futures.process, "_threads_wakeups"),
    ),
    Feature.MANAGERS: ((multiprocessing.managers.BaseManager, "_process"),),
    Feature.SHARED_MEMORY: (
        (multiprocessing.shared_memory.SharedMemory, "_fd"),
        (multiprocessing.shared_memory.SharedMemory, "_flags"),
        (multiprocessing.shared_memory.SharedMemory, "_name"),
    ),
    Feature.JOINING: ((threading, "_register_atexit"), (threading, "_shutdown")),
    Feature.EXIT: ((atexit, "_run_exitfuncs"), (_util, "_run_finalizers")),
    # Without an underscore, but in no documentation.
    Feature.FORKED_WORKERS: ((_util, "register_after_fork"),),
    Feature.HELPERS: (
        (_forkserver, "_forkserver"),
        (_forkserver.ForkServer, "_forkserver_alive_fd"),
        (_forkserver.ForkServer, "_forkserver_pid"),
        (_tracker, "_resource_tracker"),
        (_tracker.ResourceTracker, "_fd"),
        (_tracker.ResourceTracker, "_pid"),
        (_util, "_finalizer_registry"),
        (_util, "_remove_temp_dir"),
        (_util.Finalize, "_callback"),
    ),
}


def has_name(owner: object, name: str) -> bool:
    """Tell whether a module, or a class or one of its methods, knows `name`."""
    if hasattr(owner, name):
        return True
    codes = (getattr(member, "__code__", None) for member in vars(owner).values())
    return any(code is not None and name in code.co_names for code in codes)


def available_features() -> set[Feature]:
    """Return the features whose private names are all there."""
    found = {
        feature
        for feature, names in NAMES.items()
        if all(has_name(owner, name) for owner, name in names)
    }
    if sys.platform == "win32":  # It has no named semaphores to unlink.
        found -= {Feature.SEMAPHORES, Feature.TRACKER}
    return found


AVAILABLE = available_features()
