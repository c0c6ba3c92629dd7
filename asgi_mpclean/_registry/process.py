"""The parent's side of a `Process`: registered, and born with SIGINT blocked."""

from __future__ import annotations

import multiprocessing
import weakref

from asgi_mpclean._cpython.process import STARTS, ContextProcess
from asgi_mpclean._switch import DISABLED
from asgi_mpclean._worker.birth import heed_ctrl_c, sigint_blocked

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Protocol, TypeVar

    T = TypeVar("T")

    class Registrar(Protocol):
        """What a process asks of its registry."""

        def register(self, resource: T, *, stop: Callable[[], object] | None = None) -> T:
            """Have a resource cleaned up at the end of the app."""

        def check_open(self) -> None:
            """Raise RuntimeError if a clean-up is under way."""


# Not an attribute of the process, as that is pickled and a registry cannot be.
_registries: weakref.WeakKeyDictionary[Process, weakref.ref[Registrar]]


class Process(ContextProcess):
    """A `multiprocessing.Process` that is registered, and ends well.

    In the child CTRL-C is ignored, as the server decides when its workers end; SIGTERM raises
    SystemExit, so that `finally` blocks and finalizers run, and the exit code is that of a process
    killed by SIGTERM. When the parent dies without a word, the child gets a SIGTERM too, and half
    a second later a SIGKILL.

    Args:
        args: As `multiprocessing.Process` takes them.
        ctx: The context to start the process in, such as `multiprocessing.get_context("spawn")`;
            by default the default context.
        stop: Asks the worker to end, before signals are used.
        registry: Where it is registered; by default where `register` does it.
        kwargs: As `multiprocessing.Process` takes them.

    Raises:
        TypeError: If `ctx` is not a context, or `stop` not callable.
        RuntimeError: While a clean-up is under way.
    """

    registry_here: ClassVar[staticmethod[[], Registrar]]

    def __init__(
        self,
        *args: Any,
        ctx: Any = None,
        stop: Callable[[], object] | None = None,
        registry: Registrar | None = None,
        **kwargs: Any,
    ) -> None:
        if ctx is not None and not hasattr(ctx, "get_start_method"):
            msg = f"ctx must be a multiprocessing context, not {ctx!r}"
            raise TypeError(msg)
        super().__init__(*args, ctx=ctx, **kwargs)
        registry = registry or self.registry_here()
        if STARTS.refuse is None:
            registry.check_open()
            registry.register(self, stop=stop)
        _registries[self] = weakref.ref(registry)

    def start(self) -> None:
        """Start the process.

        Raises:
            RuntimeError: While a clean-up is under way.
        """
        if DISABLED:
            super().start()
            return
        from asgi_mpclean._cpython.helpers import start_helpers  # noqa: PLC0415 - not needed in a worker

        if STARTS.refuse is not None:
            STARTS.refuse()
        elif registry := _registries[self]():
            registry.check_open()
        start_helpers(self.start_method)
        with sigint_blocked():
            super().start()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Be pickled for the child: that exists by now, and takes as long as it likes to read."""
        heed_ctrl_c()
        return super().__reduce_ex__(protocol)

    def prepare_child(self, sentinel: Any, parent: int | None) -> None:
        """Set the signals of the child."""
        from asgi_mpclean._worker import signals  # noqa: PLC0415 - needed in the child only

        signals.prepare_process(sentinel, parent)

    def end_work(self) -> None:
        """Have SIGTERM raise nothing any more; if it has come, end what the child has started."""
        from asgi_mpclean._worker import signals  # noqa: PLC0415 - needed in the child only

        if signals.was_terminated() and multiprocessing.active_children():
            from asgi_mpclean._worker.children import end_own_children  # noqa: PLC0415 - the same

            end_own_children()
        signals.raise_no_more()

    def end_child(self) -> None:
        """End with the exit code of SIGTERM, if that has come."""
        from asgi_mpclean._worker import signals  # noqa: PLC0415 - needed in the child only

        signals.end_process()


_registries = weakref.WeakKeyDictionary()
