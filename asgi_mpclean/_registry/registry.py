"""What an app has registered, and in which process it did."""

from __future__ import annotations

from asgi_mpclean._cpython.fork import PerProcess
from asgi_mpclean._shutdown.state import STATE

from .process import Process

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, TypeVar

    from typing_extensions import Self

    from asgi_mpclean._report import CleanupReport
    from asgi_mpclean._resources.base import Entry

    T = TypeVar("T")

# The number of entries at which the registry first looks for some that have ended by themselves.
PRUNE_AT = 64


class Registry(PerProcess):
    """The resources of an app that are to be drained, closed and unlinked at its end.

    It belongs to the process that filled it: in a forked child it is empty. As a `with` block it
    cleans up at the end of the block:

        with Registry() as registry:
            jobs = registry.register(multiprocessing.Queue(), on_item=print)
            worker = registry.Process(target=work, args=(jobs,))
            worker.start()
    """

    def __init__(self) -> None:
        super().__init__()
        STATE.registries.add(self)

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        """Be empty: in a forked child, everything that is registered belongs to the parent."""
        self._entries: dict[int, Entry] = {}
        self._shutting_down = False
        self._prune_at = PRUNE_AT

    def register(
        self,
        resource: T,
        *,
        name: str | None = None,
        on_item: Callable[[Any], object] | None = None,
        stop: Callable[[], object] | None = None,
    ) -> T:
        """Have a resource cleaned up at the end of the app.

        In the main thread, this also guards a SIGTERM that nobody handles: it cleans up before it
        kills. Registering the same resource again replaces the options that are given then.

        Args:
            resource: Anything that `multiprocessing` makes, of any context: queues, processes,
                locks and what is made of them, pools, managers, shared memory, connections and
                listeners; a `ProcessPoolExecutor`; what was added by `add_kind`.
            name: What logs and the report call it; by default the line that registered it.
            on_item: For a queue or a connection: called in order with each item that is left in
                it. It runs in a thread of its own and is not waited for past the deadline.
            stop: For a process, a pool or an executor: asks it to end, before signals are used.

        Returns:
            The resource.

        Raises:
            TypeError: If it is something else, or an option is not callable or not a string.
            ValueError: If an option does not fit the kind of resource.
            RuntimeError: While a clean-up is under way; the resource has been closed then.
        """
        from . import registering  # noqa: PLC0415 - the first `register` loads the library

        registering.register(self, resource, name=name, on_item=on_item, stop=stop)
        return resource

    def clean(self, timeout: float = 5.0, *, discover: bool = False) -> CleanupReport:
        """Clean up what is registered, now.

        Args:
            timeout: Seconds that it may take.
            discover: Clean up also what was not registered, as when the process goes away.

        Returns:
            What was done.

        Raises:
            ValueError: If `timeout` is not a finite number above zero.
        """
        from . import registering  # noqa: PLC0415 - see `register`

        return registering.clean((self,), timeout, discover=discover)

    def Process(self, *args: Any, **kwargs: Any) -> Process:  # noqa: N802 - as multiprocessing's
        """Make a `Process` that is registered here.

        Args:
            args: As `Process` takes them.
            kwargs: As `Process` takes them.

        Returns:
            The process, not started yet.
        """
        return Process(*args, registry=self, **kwargs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clean()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the registered resources, in the order of their registration."""
        return iter([entry.resource for entry in list(self._entries.values())])

    def __contains__(self, resource: object) -> bool:
        return id(resource) in self._entries

    def __bool__(self) -> bool:
        """An empty registry is a registry."""
        return True

    def check_open(self) -> None:
        """Raise RuntimeError if a clean-up is under way."""
        if self._shutting_down:
            msg = "cannot start a process while a clean-up is under way"
            raise RuntimeError(msg)

    # For `registering` --------------------------------------------------------------------------

    @property
    def is_shutting_down(self) -> bool:
        """Whether a clean-up is under way."""
        return self._shutting_down

    def find(self, resource: object) -> Entry | None:
        """Return what is known of a resource."""
        return self._entries.get(id(resource))

    def keep(self, entry: Entry) -> None:
        """Keep a new entry, or a changed one in the place of the old."""
        self._entries[id(entry.resource)] = entry

    def prune(self) -> None:
        """Let go of entries that are spent, so that a script may go on registering for ever."""
        if len(self._entries) < self._prune_at:
            return
        for key, entry in self._entries.copy().items():  # Other threads look as well.
            if entry.kind.is_spent(entry):
                self._entries.pop(key, None)
        self._prune_at = max(PRUNE_AT, 2 * len(self._entries))

    # For the shutdown ---------------------------------------------------------------------------

    def has_executors(self) -> bool:
        """Tell whether Python would wait at its exit for the jobs of something registered."""
        return bool(self._executors())

    def take_executors(self) -> list[Entry]:
        """Hand over the executors alone."""
        taken = self._executors()
        for entry in taken:
            self._entries.pop(id(entry.resource), None)
        return taken

    def _executors(self) -> list[Entry]:
        return [entry for entry in list(self._entries.values()) if entry.kind.name == "executor"]

    def begin_shutdown(self) -> list[Entry]:
        """Refuse registrations from now on, and hand over what is registered."""
        self._shutting_down = True
        entries = list(self._entries.values())
        self._entries.clear()
        return entries

    def end_shutdown(self) -> None:
        """Accept registrations again."""
        self._shutting_down = False
