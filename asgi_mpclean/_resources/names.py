"""What an app calls a resource: the variable, the attribute or the entry that holds it."""

from __future__ import annotations

import gc
import os
import re
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# At most so many steps lead from a variable of a module to a resource: `app.state.jobs` takes four,
# as a dictionary is one of its own.
STEPS = 5
# So many holders are followed of each step; more are a container of something else.
HOLDERS = 50
# The recorder, in processes that `asgi-mpclean trace` or `asgi-mpclean check --trace` started.
RECORDER = "_asgi_mpclean_recorder.making"
# Where packages are installed.
INSTALLED = r"[/\\\\](?:site|dist)-packages[/\\\\]"
# The names of these are nobody's.
OWN = ("asgi_mpclean", "multiprocessing", "concurrent", "_pytest")


def global_names(resources: Iterable[object]) -> dict[int, str]:
    """Return the names of the modules' variables that hold one of `resources`, by its `id`."""
    wanted = {id(resource) for resource in resources}
    names: dict[int, str] = {}
    modules = list(sys.modules.items()) if wanted else []
    for name, module in modules:
        # Compared by type: libraries of cffi only claim to be modules.
        if issubclass(type(module), types.ModuleType):
            # Any other look would import a module that imports itself lazily.
            variables = object.__getattribute__(module, "__dict__")
            for key, value in list(variables.items()):
                if id(value) in wanted:
                    names.setdefault(id(value), f"{name}.{key}")
    return names


def traced_names(resources: Iterable[object]) -> dict[int, str]:
    """Return where `resources` were made, by the `id`: `at main.py:15`.

    It is known where the recorder of `asgi-mpclean trace` works in this process.
    """
    making: Any = sys.modules.get(RECORDER)
    wanted = {id(resource) for resource in resources}
    names: dict[int, str] = {}
    if making is None:
        return names
    for made in [*making.composites.copy().values(), *making.blocks.copy().values()]:
        place = id(made.reference())
        if place in wanted and made.site is not None:
            file, line, _function = made.site
            # A package's own file with its folders, as many have an `__init__.py`.
            name = re.split(INSTALLED, file)[-1] if re.search(INSTALLED, file) else None
            names[place] = f"at {name or os.path.basename(file)}:{line}"
    return names


def holder_names(resources: Iterable[object]) -> dict[int, str]:
    """Return what an app calls `resources`, by the `id`: `main.jobs`, `main.app.state.jobs`.

    It looks at all objects that there are, a few times, and may take some tenths of a second.
    """
    resources = list(resources)
    names = _named(resources)
    # Each holder with what leads from it to a resource.
    left = {id(r): (r, [(id(r), "")]) for r in resources if id(r) not in names}
    for _ in range(STEPS):
        if not left or len(left) > HOLDERS:
            break
        left = _one_step_up(left, {id(resources)})
        found = _named(holder for holder, _ in left.values())
        for place, (_holder, ways) in left.items():
            for resource, way in ways if place in found else ():
                names.setdefault(resource, _tidy(f"{found[place]}{way}"))
        left = {
            place: (holder, [(resource, way) for resource, way in ways if resource not in names])
            for place, (holder, ways) in left.items()
        }
        left = {place: held for place, held in left.items() if held[1]}
    return names


def _named(things: Iterable[object]) -> dict[int, str]:
    things = list(things)
    names = {
        place: name
        for place, name in global_names(things).items()
        if name.partition(".")[0] not in OWN
    }
    for thing in things:
        if isinstance(thing, type) and thing.__module__.partition(".")[0] not in OWN:
            names.setdefault(id(thing), f"{thing.__module__}.{thing.__qualname__}")
    return names


def _one_step_up(held: dict[int, Any], passed: set[int]) -> dict[int, Any]:
    """Return who holds those that are held, each with the ways from it to the resources."""
    above: dict[int, Any] = {}
    passed |= {id(held), id(above)} | {id(entry) for entry in held.values()}
    things = [thing for thing, _ in held.values()]
    for holder in gc.get_referrers(*things):
        if id(holder) in passed or holder is things or _is_ours(holder):
            continue
        for thing, way in _ways(holder, held):
            ways = [(resource, way + rest) for resource, rest in held[thing][1]]
            above.setdefault(id(holder), (holder, []))[1].extend(ways)
    return above


def _is_ours(holder: object) -> bool:
    if isinstance(holder, (types.FrameType, types.ModuleType, types.CellType)):
        return True
    return type(holder).__module__.partition(".")[0] in OWN


def _ways(holder: Any, held: dict[int, Any]) -> Iterator[tuple[int, str]]:
    """Yield what a holder holds of them, and how that is written behind the holder's name."""
    if isinstance(holder, dict):
        members: Iterable[tuple[Any, str]] = [(v, f"[{key!r}]") for key, v in holder.copy().items()]
    elif isinstance(holder, (list, tuple)):
        members = [(value, f"[{number}]") for number, value in enumerate(holder)]
    elif isinstance(holder, type):
        # Its dictionary is only shown by another object.
        dicts = [thing for thing, _ in held.values() if isinstance(thing, dict)]
        members = [(found, DICTIONARY) for found in dicts if found == vars(holder)]
        # In PyPy nothing shows the dictionary, but the class what is in it.
        members += [(value, f".{key}") for key, value in vars(holder).copy().items()]
    else:
        # Where an instance has a dictionary, that is what was found first; else it is itself.
        attributes = getattr(holder, "__dict__", {})
        members = [(attributes, DICTIONARY)]
        members += [(value, f".{key}") for key, value in attributes.copy().items()]
    for value, way in members:
        if id(value) in held:
            yield id(value), way


# Stands for a step from an object to its dictionary, until the name is made.
DICTIONARY = "\0"


def _tidy(name: str) -> str:
    """Return a name as it is written in a program."""
    first, *rest = name.split(DICTIONARY)
    for part in rest:  # `['jobs']` of the dictionary is `.jobs` of the object.
        key, _, further = part[2:].partition("']")
        first += f".{key}{further}"
    # Starlette's state has its entries in a dictionary of its own.
    state, found, key = first.partition("._state['")
    return f"{state}.{key.replace(chr(39) + ']', '', 1)}" if found else first
