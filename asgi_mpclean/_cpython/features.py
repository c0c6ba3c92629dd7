"""Which private names this Python has: each is looked for once, when it is first needed."""

from __future__ import annotations

import enum
import sys

from .loaded import find


class Feature(str, enum.Enum):
    """A group of private names that stand or fall together."""

    BACKLOG = "take unsent items out of a queue"
    PIPE = "read a queue's pipe under its lock"
    FEEDER = "know what a queue's feeder thread is doing, and leave it alone"
    REGISTRY = "see what multiprocessing is going to end by itself"
    SEMAPHORES = "unlink named semaphores"
    TRACKER = "unregister many semaphores in one write"
    DISCOVERY = "find what multiprocessing made in this process"
    CHILDREN = "know which process object is a child of whom"
    REAPING = "know who reaps a child"
    SEMAPHORE_NAMES = "know what names Python gives to semaphores"
    FRAMES = "know which threads wait in a queue"
    HOLDERS = "know that a thread of this process holds a lock"
    JOINERS = "wake who waits in JoinableQueue.join"
    BOOTSTRAP = "prepare a child before its code runs"
    POOLS = "cancel the jobs that a pool has not begun, and watch its workers"
    RESULTS = "answer for a pool whose workers are dead, and see what has been answered"
    EXECUTORS = "watch the workers of an executor"
    MANAGERS = "kill the server of a manager that does not answer"
    PROXIES = "find the queues of managers"
    SHARED_MEMORY = "know who made a block of shared memory"
    JOINING = "run something before Python waits for threads and executors, and know that it does"
    EXIT = "run what is left to be run at exit, before a signal kills"
    FINALIZERS = "run something first when multiprocessing ends this process"
    FORKED_WORKERS = "know a worker by fork from any other fork, before its code runs"
    HELPERS = "end the resource tracker, and remove the folder of multiprocessing"
    FORK_SERVER = "end the fork server"
    THREAD_POOLS = "know which threads an executor waits for"
    LOGGING = "know which queues carry log records"
    MESSAGES = "read a message of a Windows pipe without waiting for it"


# For each feature the private names, by the module, or the class of it, that has them.
NAMES: dict[Feature, dict[str, str]] = {
    Feature.BACKLOG: {
        "multiprocessing.queues:Queue": "_buffer",
        "multiprocessing.queues": "_sentinel",
    },
    Feature.PIPE: {
        "multiprocessing.queues:Queue": "_reader _writer _rlock _wlock _sem _maxsize _opid",
        "multiprocessing.queues:SimpleQueue": "_reader _writer _rlock",
        "multiprocessing.connection:Connection": "_handle",
    },
    Feature.FEEDER: {
        "multiprocessing.queues:Queue": "_thread _jointhread _close _closed _notempty",
        "threading:Condition": "_waiters",
        "multiprocessing.util": "_finalizer_registry",
        "multiprocessing.util:Finalize": "_key",
    },
    Feature.REGISTRY: {
        "multiprocessing.util": "_finalizer_registry",
        "multiprocessing.util:Finalize": "_callback _args _pid _weakref",
    },
    Feature.SEMAPHORES: {
        "multiprocessing.util": "_finalizer_registry",
        "multiprocessing.util:Finalize": "_callback _args _pid _key",
        "multiprocessing.synchronize:SemLock": "_semlock _cleanup",
    },
    Feature.TRACKER: {
        "multiprocessing.resource_tracker": "_resource_tracker",
        "multiprocessing.resource_tracker:ResourceTracker": "_fd _pid",
    },
    Feature.DISCOVERY: {
        "multiprocessing.util": "_afterfork_registry",
        "multiprocessing.queues:Queue": "_finalize_join _finalize_close",
        "threading:Thread": "_args",
    },
    Feature.CHILDREN: {
        "multiprocessing.process": "_children",
        "multiprocessing.process:BaseProcess": "_parent_pid",
    },
    Feature.REAPING: {"multiprocessing.process:BaseProcess": "_popen"},
    Feature.SEMAPHORE_NAMES: {"multiprocessing.process:BaseProcess": "_config"},
    Feature.FRAMES: {"sys": "_current_frames", "threading": "_active"},
    Feature.HOLDERS: {
        "multiprocessing.queues:SimpleQueue": "_wlock",
        "multiprocessing.synchronize:SemLock": "_semlock",
        "_multiprocessing:SemLock": "_count",
    },
    Feature.JOINERS: {
        "multiprocessing.queues:JoinableQueue": "_cond",
        "multiprocessing.synchronize:Condition": "_sleeping_count _wait_semaphore",
    },
    Feature.BOOTSTRAP: {
        "multiprocessing.process:BaseProcess": "_bootstrap _Popen",
        "multiprocessing.context:Process": "_start_method",
    },
    Feature.POOLS: {
        "multiprocessing.pool:Pool": (
            "_pool _inqueue _outqueue _worker_handler _task_handler _result_handler _terminate "
            "_state _change_notifier"
        ),
        "multiprocessing.pool": "RUN",
    },
    Feature.RESULTS: {
        "multiprocessing.pool:Pool": "_cache",
        "multiprocessing.pool:ApplyResult": "_set _pool _job",
        "multiprocessing.pool:MapResult": "_number_left",
        "multiprocessing.pool:IMapIterator": "_set _set_length _index _unsorted _pool _job",
    },
    Feature.EXECUTORS: {
        "concurrent.futures.process:ProcessPoolExecutor": (
            "_processes _pending_work_items _work_ids _call_queue _broken _shutdown_thread "
            "_shutdown_lock _cancel_pending_futures _executor_manager_thread "
            "_executor_manager_thread_wakeup"
        ),
        "concurrent.futures.process": "_threads_wakeups",
    },
    Feature.MANAGERS: {"multiprocessing.managers:BaseManager": "_process"},
    Feature.PROXIES: {
        "multiprocessing.util": "_afterfork_registry",
        "multiprocessing.managers:BaseProxy": "_manager _token",
    },
    Feature.SHARED_MEMORY: {"multiprocessing.shared_memory:SharedMemory": "_fd _flags _name"},
    Feature.JOINING: {"threading": "_register_atexit _shutdown"},
    Feature.EXIT: {"atexit": "_run_exitfuncs", "multiprocessing.util": "_run_finalizers"},
    Feature.FINALIZERS: {
        "multiprocessing.util": "_exit_function _finalizer_registry",
        "multiprocessing.util:Finalize": "still_active",
    },
    # Without an underscore, but in no documentation.
    Feature.FORKED_WORKERS: {"multiprocessing.util": "register_after_fork"},
    Feature.HELPERS: {
        "multiprocessing.resource_tracker": "_resource_tracker",
        "multiprocessing.resource_tracker:ResourceTracker": "_fd _pid",
        "multiprocessing.util": "_finalizer_registry _remove_temp_dir",
        "multiprocessing.util:Finalize": "_callback",
    },
    Feature.FORK_SERVER: {
        "multiprocessing.forkserver": "_forkserver",
        "multiprocessing.forkserver:ForkServer": "_forkserver_alive_fd _forkserver_pid",
    },
    Feature.THREAD_POOLS: {
        "concurrent.futures.thread": "_worker",
        "concurrent.futures.thread:ThreadPoolExecutor": "_threads",
    },
    Feature.LOGGING: {
        "logging": "_handlerList",
        "logging.handlers:QueueListener": "_monitor",
    },
    Feature.MESSAGES: {
        "_winapi": (
            "PeekNamedPipe ReadFile ERROR_IO_PENDING ERROR_MORE_DATA ERROR_OPERATION_ABORTED"
        ),
    },
}


# What this system has nothing for: on Windows no semaphore is named, and elsewhere pipes are bytes.
ELSEWHERE = frozenset(
    {Feature.SEMAPHORES, Feature.TRACKER} if sys.platform == "win32" else {Feature.MESSAGES}
)


def has_name(owner: object, name: str) -> bool:
    """Tell whether a module, or a class or one of its methods, knows `name`."""
    if hasattr(owner, name):
        return True
    codes = (getattr(member, "__code__", None) for member in vars(owner).values())
    # PyPy has code of its own kind for what it has built in, which tells no names.
    return any(name in getattr(code, "co_names", ()) for code in codes)


def is_complete(feature: Feature) -> bool | None:
    """Tell whether all names of a feature are there; None while one of its modules is not."""
    if feature in ELSEWHERE:
        return False
    names = [(_owner(path), name) for path, row in NAMES[feature].items() for name in row.split()]
    if any(owner is None for owner, _ in names):
        return None
    return all(has_name(owner, name) for owner, name in names)


def _owner(path: str) -> object | None:
    """Return the owner of names; for pools that of `multiprocess`, where only that is loaded."""
    return find(path) or find(path.replace("multiprocessing.pool", "multiprocess.pool", 1))


class Features:
    """The features that this Python has, used as a set: `Feature.PIPE in AVAILABLE`."""

    def __init__(self) -> None:
        self._known: dict[Feature, bool] = {}

    def __contains__(self, feature: Feature) -> bool:
        known = self._known.get(feature)
        if known is None:
            known = is_complete(feature)
            if known is None:  # Nothing that the feature is about has been made yet.
                return False
            self._known[feature] = known
        return known

    def discard(self, feature: Feature) -> None:
        """Do without a feature."""
        self._known[feature] = False

    def add(self, feature: Feature) -> None:
        """Look for the names of a feature once more."""
        self._known.pop(feature, None)


AVAILABLE = Features()
