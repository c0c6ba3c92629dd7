"""The environment of a command into whose processes something is to be injected."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside")
"""The folder that is put first on PYTHONPATH."""

HOOKS = "ASGI_MPCLEAN_HOOKS"
"""The variable with the paths of the hooks; the same name is inside."""

SEEN = "ASGI_MPCLEAN_SEEN"
"""The variable with the folder in which each process leaves a file; the same name is inside."""


def environment(
    base: Mapping[str, str], hooks: Iterable[str], *, seen: str | None = None
) -> dict[str, str]:
    """Return the environment in which the Python processes of a command load the hooks.

    Hooks that the environment has already stay, and are loaded first.

    Args:
        base: The environment that the command would have, such as `os.environ`. It is not changed.
        hooks: Paths of Python files. Each is loaded once in each process, when it has imported
            multiprocessing. One that is called ``__init__.py`` is loaded as a package.
        seen: A folder in which each Python process that was reached leaves an empty file,
            ``PID-NANOSECONDS.seen``, as soon as it starts.

    Returns:
        The environment for the command.

    Raises:
        ValueError: A path has the character in it that separates paths.
    """
    wanted = _split(base.get(HOOKS, ""))
    wanted += [os.path.abspath(hook) for hook in hooks if os.path.abspath(hook) not in wanted]
    for path in (INSIDE, *wanted):
        if os.pathsep in path:
            msg = f"{path!r} cannot be passed on: {os.pathsep!r} separates paths"
            raise ValueError(msg)
    search = [path for path in _split(base.get("PYTHONPATH", "")) if path != INSIDE]
    changed = {"PYTHONPATH": os.pathsep.join([INSIDE, *search]), HOOKS: os.pathsep.join(wanted)}
    if seen is not None:
        changed[SEEN] = os.path.abspath(seen)
    return {**base, **changed}


def _split(paths: str) -> list[str]:
    return paths.split(os.pathsep) if paths else []
