"""`when_imported`, for this process: the same that a hook has in the processes of a command."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

from .environment import INSIDE

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

NAME = "_asgi_mpclean_inject"


def when_imported(name: str, callback: Callable[[ModuleType], object]) -> None:
    """Have a module given to a function as soon as it is imported.

    Args:
        name: The module's full name.
        callback: Is called with the module, once: now, if the module is there already.
    """
    _inside().when_imported(name, callback)


def _inside() -> ModuleType:
    if NAME not in sys.modules:
        path = os.path.join(INSIDE, f"{NAME}.py")
        spec = importlib.util.spec_from_file_location(NAME, path)
        if spec is None or spec.loader is None:
            msg = f"{path} cannot be loaded"
            raise ImportError(msg)
        module = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = module
        spec.loader.exec_module(module)
    return sys.modules[NAME]
