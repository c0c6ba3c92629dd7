"""What waits in each Python process of a command until multiprocessing is imported.

A hook is a file whose path is in ASGI_MPCLEAN_HOOKS. It is executed as a module of its own, with
the name ``_asgi_mpclean_`` and that of its file, right before multiprocessing is executed; what it
has to do with a module of the standard library it gives to `when_imported`.

It is loaded whenever a Python starts, so it imports only what the interpreter has anyway.

Nothing here may disturb the program: whatever fails is said in one line on stderr, and left.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

HOOKS = "ASGI_MPCLEAN_HOOKS"
SEEN = "ASGI_MPCLEAN_SEEN"
FIRST = ("multiprocessing", "multiprocess")
"""The package that is waited for, and its copy on PyPI, which has the same inside."""

_waiting: dict[str, list[Callable[[ModuleType], object]]] = {}
_MODULE_SPEC: Any = type(__spec__)  # `importlib.machinery` would cost an import.
_FILE_LOADER: Any = type(__spec__.loader)


def begin() -> None:
    """Leave a file that says this process was reached, and wait for multiprocessing."""
    if folder := os.environ.get(SEEN):
        leave_file(folder)
    if not os.environ.get(HOOKS):
        return
    if any(name in sys.modules for name in FIRST):  # By a .pth file.
        load_hooks()
        return
    for name in FIRST:
        _waiting[name] = []
    sys.meta_path.insert(0, _Finder)


def leave_file(folder: str) -> None:
    """Leave an empty file named after this process; where none can be, whoever looks says so."""
    path = os.path.join(folder, f"{os.getpid()}-{time.time_ns()}.seen")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0), 0o600))
    except OSError:
        pass


def is_resource_tracker() -> bool:
    """Tell whether this process is multiprocessing's resource tracker, which loads hooks too."""
    return any("resource_tracker import main" in word for word in sys.orig_argv[1:])


def when_imported(name: str, callback: Callable[[ModuleType], object]) -> None:
    """Have a module given to a function as soon as it is imported.

    Args:
        name: The module's full name.
        callback: Is called with the module, once: now, if the module is there already.
    """
    module = sys.modules.get(name)
    # A module in the course of its import is there as well, and not complete.
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        _call(callback, module)
        return
    _waiting.setdefault(name, []).append(callback)
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def load_hooks() -> None:
    """Load the hooks, each once; after that only what they wait for is waited for."""
    for name in FIRST:
        if not _waiting.get(name):
            _waiting.pop(name, None)
    for path in os.environ.get(HOOKS, "").split(os.pathsep):
        name = _module_name(path)
        if not path or name in sys.modules:
            continue
        try:
            load(name, path)
        except Exception as error:  # noqa: BLE001 - the program goes on without it
            sys.modules.pop(name, None)
            complain(f"{path} cannot be loaded: {error!r}")


def load(name: str, path: str) -> ModuleType:
    """Execute a file as a module.

    Args:
        name: The name under which `sys.modules` has it from then on.
        path: The file. One that is called ``__init__.py`` becomes a package.
    """
    spec: Any = _MODULE_SPEC(name, _FILE_LOADER(name, path), origin=path)
    spec.has_location = True
    if os.path.basename(path) == "__init__.py":
        spec.submodule_search_locations = [os.path.dirname(path)]
    module = type(sys)(name)
    module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, path
    module.__package__ = spec.parent
    if spec.submodule_search_locations is not None:
        module.__path__ = spec.submodule_search_locations
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _module_name(path: str) -> str:
    folder, file = os.path.split(path)
    stem = os.path.basename(folder) if file == "__init__.py" else file.partition(".")[0]
    return f"_asgi_mpclean_{stem}"


def complain(text: str) -> None:
    """Say on stderr what went wrong; the program goes on."""
    try:
        sys.stderr.write(f"asgi-mpclean, in process {os.getpid()}: {text}\n")
    except Exception:  # noqa: BLE001, S110 - there may be no stderr
        pass


def _call(callback: Callable[[ModuleType], object], module: ModuleType) -> None:
    try:
        callback(module)
    except Exception as error:  # noqa: BLE001 - the program goes on without it
        complain(f"{callback!r} failed on {module.__name__}: {error!r}")


class _Finder:
    """First of the finders as long as a module is waited for; it finds what the others find."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the others find, with an `exec_module` that calls the callbacks."""
        if name not in _waiting:
            return None
        spec = _others_find(name, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            _intercept(spec)
        return spec


def _others_find(
    name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    for finder in [*sys.meta_path]:
        if finder is _Finder:
            continue
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(name, path, target) if find else None
        if spec is not None:
            return spec
    return None


def _intercept(spec: ModuleSpec) -> None:
    """Have the callbacks called when the module is executed.

    The attribute is the loader's own, and gone when the module is executed: the module keeps the
    loader that it would have had.
    """
    loader: Any = spec.loader

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module
        if spec.name in FIRST:
            load_hooks()
        loader.exec_module(module)
        for callback in _waiting.pop(spec.name, ()):
            _call(callback, module)
        if not _waiting and _Finder in sys.meta_path:
            sys.meta_path.remove(_Finder)

    loader.exec_module = exec_module
