"""The default registry, and the functions that register in it or in the lifespan's own."""

from __future__ import annotations

from .owner import find_owner
from .process import Process
from .registry import Registry, library

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from asgi_mpclean._report import CleanupReport

    T = TypeVar("T")


class DefaultRegistry(Registry):
    """The registry of what is registered outside any lifespan; inside one it passes on to that."""

    def register(
        self,
        resource: T,
        *,
        name: str | None = None,
        on_item: Callable[[Any], object] | None = None,
        stop: Callable[[], object] | None = None,
    ) -> T:
        """Have a resource cleaned up at the end of the lifespan that is open here, or the process.

        In the course of a lifespan, its start-up and its requests, it is registered in that
        lifespan's registry; anywhere else, such as at import, in this one. Otherwise this is
        `Registry.register`.

        Args:
            resource: See `Registry.register`.
            name: See `Registry.register`.
            on_item: See `Registry.register`.
            stop: See `Registry.register`.

        Returns:
            The resource.

        Raises:
            TypeError: As `Registry.register`.
            ValueError: As `Registry.register`.
            RuntimeError: As `Registry.register`.
        """
        # What is registered with the process already stays with the process.
        owner = None if resource in self else find_owner()
        if owner is None or owner is self:
            return super().register(resource, name=name, on_item=on_item, stop=stop)
        return owner.register(resource, name=name, on_item=on_item, stop=stop)

    def clean(self, timeout: float = 5.0, *, discover: bool = False) -> CleanupReport:
        """Clean up what `register` has registered, in this registry and in the lifespan's.

        Args:
            timeout: Seconds that it may take.
            discover: Clean up also what was not registered, as when the process goes away.

        Returns:
            What was done.

        Raises:
            ValueError: If `timeout` is not a finite number above zero.
        """
        registries = tuple({self, _registry_here()})
        report: CleanupReport = library().clean(registries, timeout, discover=discover)
        return report


default_registry = DefaultRegistry()
register = default_registry.register
clean = default_registry.clean


def _registry_here() -> Registry:
    return find_owner() or default_registry


Process.registry_here = staticmethod(_registry_here)
