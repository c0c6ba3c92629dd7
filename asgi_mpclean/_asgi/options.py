"""How a lifespan cleans up: the options of the wrapper and of the `lifespan=` callable."""

from __future__ import annotations

import multiprocessing

from asgi_mpclean._registry.options import check_callback, check_signals, check_timeout
from asgi_mpclean._registry.registry import Registry
from asgi_mpclean._shutdown import state

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asgi_mpclean._report import CleanupReport


class Options:
    """The options of a lifespan, checked.

    Args:
        registry: Where the lifespan registers; by default in one of its own.
        timeout: Seconds.
        signals: The signals to chain handlers to.
        discover: Clean up also what was not registered.
        on_report: Called with the report.

    Raises:
        TypeError: If an option is of a wrong type.
        ValueError: If `timeout` or a signal cannot be used.
    """

    def __init__(
        self,
        registry: Registry | None,
        timeout: float,
        signals: Iterable[int],
        discover: bool,  # noqa: FBT001 - internal, called with everything
        on_report: Callable[[CleanupReport], object] | None,
    ) -> None:
        if registry is not None and not isinstance(registry, Registry):
            msg = f"registry must be an asgi_mpclean.Registry, not {registry!r}"
            raise TypeError(msg)
        check_callback("on_report", on_report)
        self.registry = registry
        self.timeout = check_timeout(timeout)
        self.signals = check_signals(signals)
        self.discover = bool(discover)
        self.on_report = on_report

    def set_policy(self, *, serving: bool) -> None:
        """Use these options also for a clean-up that no lifespan does: at a signal, exit or exec.

        Args:
            serving: An app's lifespan has begun in this process. A worker that only imports the
                app ends as Python has it end, and is spared the rest of the library.
        """
        if state.DISABLED:
            return
        policy = state.Policy(
            self.timeout,
            discover_at_exit=self.discover,
            discover_at_signal=self.discover,
            on_report=self.on_report,
            serving=serving,
        )
        state.set_policy(policy)
        if serving or multiprocessing.parent_process() is None:
            from asgi_mpclean._shutdown import triggers  # noqa: PLC0415 - see above

            triggers.clean_at_exit()
