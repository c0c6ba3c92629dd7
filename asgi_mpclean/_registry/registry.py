"""What an app has registered, and in which process it did."""

from __future__ import annotations

from asgi_mpclean._cpython.fork import PerProcess
from asgi_mpclean._shutdown.state import STATE

from .entries import Entries
from .process import Process

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType, TracebackType
    from typing import Any, TypeVar

    from typing_extensions import Self

    from asgi_mpclean._report import CleanupReport
    from asgi_mpclean._resources.base import Entry

    from .entries import Record

    T = TypeVar("T")


def library(_loaded: list[ModuleType] = []) -> Any:  # noqa: B006 - loaded once
    """Return `registering`, which loads the rest of the library at the first call.

    It is kept here, as a destructor may ask for it when Python can import nothing any more.
    """
    if not _loaded:
        from . import registering  # noqa: PLC0415 - see above

        _loaded.append(registering)
    return _loaded[0]


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
        """Be empty, as in a forked child, where all that is registered belongs to the parent."""
        self._entries = Entries()
        self._shutting_down = False

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
        library().register(self, resource, name=name, on_item=on_item, stop=stop)
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
        report: CleanupReport = library().clean((self,), timeout, discover=discover)
        return report

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
        """Count what is left to clean up, what the app has let go of included."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the registered resources, in the order of their registration."""
        return iter(self._entries.shown())

    def __contains__(self, resource: object) -> bool:
        return self._entries.find(resource) is not None

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

    def find(self, resource: object) -> Record | None:
        """Return what is known of a resource."""
        return self._entries.find(resource)

    def keep(self, entry: Entry, note: object, known: Record | None) -> bool:
        """Keep a new entry, or a changed one in the place of the old.

        Args:
            entry: What is registered.
            note: What stands for it when it is garbage-collected.
            known: What was known of it.

        Returns:
            Whether it is kept, rather than too late: a clean-up has begun and has not seen it.
        """
        record = self._entries.add(entry, note, known)
        # Looked at again, as it may have begun just before; if it took the entry, that is cleaned.
        if self._shutting_down and self._entries.take(record):
            return False
        if known is None:
            self._entries.tidy(record.serial)
        return True

    # For the shutdown ---------------------------------------------------------------------------

    def entry_of(self, resource: object) -> Entry | None:
        """Return a resource with its options; None if it is not registered here."""
        record = self._entries.find(resource)
        return None if record is None else record.entry.about(resource)

    def has_executors(self) -> bool:
        """Tell whether Python would wait at its exit for the jobs of something registered."""
        return bool(self._entries.look_at("executor"))

    def take_executors(self) -> list[Entry]:
        """Hand over the executors alone."""
        return self._entries.take_kind("executor")

    def queues(self) -> list[Entry]:
        """Return the queues, which stay registered."""
        return self._entries.look_at("queue")

    def begin_shutdown(self) -> list[Entry]:
        """Refuse registrations from now on, and hand over what is registered."""
        self._shutting_down = True
        return self._entries.take_all()

    def end_shutdown(self) -> None:
        """Accept registrations again."""
        self._shutting_down = False
