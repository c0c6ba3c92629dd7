"""The default registry, and the functions that register in it or in the lifespan's own."""

from __future__ import annotations

from .owner import find_owner
from .process import Process
from .registry import Registry

TYPE_CHECKING = False  # `typing` would cost each worker that imports this 2 ms.
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from asgi_mpclean._report import CleanupReport

    T = TypeVar("T")

default_registry = Registry()


def _registry_here() -> Registry:
    return find_owner() or default_registry


Process.registry_here = staticmethod(_registry_here)


def register(
    resource: T,
    *,
    name: str | None = None,
    on_item: Callable[[Any], object] | None = None,
    stop: Callable[[], object] | None = None,
) -> T:
    """Have a resource cleaned up: at the end of the lifespan that is open here, or of the process.

    In the course of a lifespan, its start-up and its requests, it is registered in that lifespan's
    registry; anywhere else, such as at import, in the default one. Otherwise this is
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
    # What is known to the process already stays with it.
    registry = default_registry if resource in default_registry else _registry_here()
    return registry.register(resource, name=name, on_item=on_item, stop=stop)


def clean(timeout: float = 5.0, *, discover: bool = False) -> CleanupReport:
    """Clean up what `register` has registered, now.

    Args:
        timeout: Seconds that it may take.
        discover: Clean up also what was not registered, as when the process goes away.

    Returns:
        What was done.

    Raises:
        ValueError: If `timeout` is not a finite number above zero.
    """
    from . import registering  # noqa: PLC0415 - see `Registry.register`

    registries = {default_registry, _registry_here()}
    return registering.clean(tuple(registries), timeout, discover=discover)
