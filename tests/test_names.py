"""What an unregistered resource is called: by the variable, attribute or entry that holds it."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette

from asgi_mpclean._resources.names import holder_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Thing:
    """Stands for a queue."""


class Service:
    """Has one."""


@pytest.fixture
def module() -> Iterator[Any]:
    """A module of an app."""
    made = sys.modules["shop"] = types.ModuleType("shop")
    yield made
    del sys.modules["shop"]


def variable(shop: Any, thing: Thing) -> None:
    shop.jobs = thing


def attribute(shop: Any, thing: Thing) -> None:
    shop.service = Service()
    shop.service.jobs = thing


def deep_attribute(shop: Any, thing: Thing) -> None:
    attribute(shop, thing)
    shop.service.jobs, shop.service.inner = None, Service()
    shop.service.inner.jobs = thing


def state(shop: Any, thing: Thing) -> None:
    shop.app = Starlette()
    shop.app.state.jobs = thing


def class_attribute(shop: Any, thing: Thing) -> None:
    shop.Worker = type("Worker", (), {"__module__": "shop", "jobs": thing})


def entry(shop: Any, thing: Thing) -> None:
    shop.queues = {"jobs": [None, thing]}


def item(shop: Any, thing: Thing) -> None:
    shop.pair = (None, thing)


def nobody(_shop: Any, _thing: Thing) -> None:
    """Have it held by a local variable alone."""


@pytest.mark.parametrize(
    ("hold", "name"),
    [
        (variable, "shop.jobs"),
        (attribute, "shop.service.jobs"),
        (deep_attribute, "shop.service.inner.jobs"),
        (state, "shop.app.state.jobs"),
        (class_attribute, "shop.Worker.jobs"),
        (entry, "shop.queues['jobs'][1]"),
        (item, "shop.pair[1]"),
        (nobody, None),
    ],
)
def test_it_is_named_after_what_holds_it(
    hold: Callable[[Any, Thing], None], name: str | None, module: Any
) -> None:
    thing = Thing()
    hold(module, thing)
    assert holder_names([thing]).get(id(thing)) == name


def test_each_has_its_own_name(module: Any) -> None:
    things = [Thing() for _ in range(20)]
    variable(module, things[0])
    attribute(module, things[1])
    module.all = things[2:]
    names = holder_names(things)
    assert [names[id(thing)] for thing in things] == [
        "shop.jobs",
        "shop.service.jobs",
        *(f"shop.all[{number}]" for number in range(18)),
    ]
