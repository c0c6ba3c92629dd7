"""A `multiprocessing.Process` from inside: its context, and what runs first in the child."""

from __future__ import annotations

import multiprocessing

from asgi_mpclean._switch import DISABLED

from .fork import PerProcess

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Starts(PerProcess):
    """Whether processes may be started; `starting` says so."""

    refuse: Callable[[], None] | None

    def reset(self, *, forked: bool) -> None:  # noqa: ARG002 - the same in both
        self.refuse = None


STARTS = _Starts()


class ContextProcess(multiprocessing.Process):
    """A `multiprocessing.Process` for any context, with hooks in the child around its code."""

    def __init__(self, *args: Any, ctx: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        method = ctx.get_start_method() if ctx is not None else None
        self._mpclean_method: str | None = method
        if method is not None:
            from .features import AVAILABLE, Feature  # noqa: PLC0415 - not needed in a worker

            if Feature.BOOTSTRAP in AVAILABLE:
                self._start_method = method

    @property
    def start_method(self) -> str:
        """The start method of this process."""
        return self._mpclean_method or multiprocessing.get_start_method()

    def _Popen(self, process_obj: Any) -> Any:  # type: ignore[override]  # noqa: N802 - CPython's
        method = self._mpclean_method
        context: Any = multiprocessing.get_context(method)
        base: Any = context.Process if method else super()
        return base._Popen(process_obj)

    def prepare_child(self, sentinel: Any, parent: int | None) -> None:
        """Make the child ready for its code.

        Args:
            sentinel: The handle that becomes ready when the parent is gone.
            parent: The pid of the parent.
        """
        raise NotImplementedError

    def end_work(self) -> None:
        """Run in the child after its code, before Python's own end of it."""
        raise NotImplementedError

    def end_child(self) -> None:
        """Run in the child after its finalizers, when its threads have ended."""
        raise NotImplementedError

    def _bootstrap(self, parent_sentinel: Any = None) -> int:
        base: Any = super()
        code: int
        if DISABLED:
            code = base._bootstrap(parent_sentinel)
            return code
        self.prepare_child(parent_sentinel, getattr(self, "_parent_pid", None))
        run: Any = self.run

        def run_and_end() -> None:
            try:
                run()
            finally:
                self.end_work()

        self.run = run_and_end  # type: ignore[method-assign]
        code = base._bootstrap(parent_sentinel)
        self.end_child()
        return code
