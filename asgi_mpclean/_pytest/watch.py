"""Watches what each test and each fixture makes, and what of it is left when they are done.

What is new after a fixture's setup belongs to that fixture, what is new after a test's call to the
test. It has leaked if it is still held when its owner is done: the test with its teardown, a
fixture when its scope ends. The teardown in which that is found out reports it, by its owner.
"""

from __future__ import annotations

import contextlib
import gc
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from asgi_mpclean._trace import held, sites

from .allowed import is_allowed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from asgi_mpclean._trace.held import Leak

    Key = tuple[str, object]

PATIENCE = 1.0
"""Seconds in which feeders and children that have been told to end may do so."""

POLL = 0.01
NAME = "mp_leaks"


class LeakWarning(pytest.PytestWarning):
    """A test has left something of multiprocessing behind."""


class Watch:
    """Watches the tests of a session."""

    def __init__(self, mode: str, allow: Iterable[str]) -> None:
        self._mode = mode
        self._allow = tuple(allow)
        self._tracing = contextlib.ExitStack()
        self._tracing.enter_context(held.trace())
        # Whom a thing belongs to: a test, a fixture, or nobody. Whatever is there now is nobody's.
        self._owners: dict[Key, object] = dict.fromkeys(held.keys_held())
        self._done: list[object] = []
        self._names: dict[object, str] = {}
        self._failed: pytest.Item | None = None

    def close(self) -> None:
        """Watch no more."""
        self._tracing.close()

    def begin(self, item: pytest.Item) -> None:
        """Let a test begin: what is new now is nobody's."""
        del item
        self._assign(None)

    def held_by(self, item: pytest.Item) -> list[Leak]:
        """Return what a test has made so far and still holds."""
        self._assign(item)
        now = held.snapshot()
        return [leak for key, leak in now.items() if self._owners.get(key) is item]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Give what a fixture makes to the fixture."""
        self._assign(request.node)
        try:
            return (yield)
        finally:
            self._assign(fixturedef)
            where = fixturedef.baseid or "a plugin"
            self._names[fixturedef] = (
                f"{fixturedef.scope} fixture {fixturedef.argname!r} of {where}"
            )

    @pytest.hookimpl
    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Note that a fixture is done."""
        self._done.append(fixturedef)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Give what a test makes to the test."""
        self._assign(None)
        try:
            return (yield)
        except BaseException:
            # Its traceback keeps everything that the test had.
            self._failed = item
            raise
        finally:
            self._assign(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """See what is left of whatever is done now."""
        self._names[item] = "this test"
        self._done.append(item)
        done = yield
        left = self._left(getattr(item, "funcargs", None))
        if left:
            self._report(item, left)
        return done

    def _assign(self, owner: object) -> None:
        """Give what is new to an owner, and forget what is gone."""
        self._owners = {key: self._owners.get(key, owner) for key in held.keys_held()}

    def _left(self, values: dict[str, Any] | None) -> dict[object, list[Leak]]:
        """Return what is left of those that are done, by owner; it is nobody's from now on.

        Args:
            values: What the test got from its fixtures. pytest is about to let go of them.
        """
        done, self._done = self._done, []
        failed, self._failed = self._failed, None
        if not any(self._owners.get(key) in done for key in held.keys_held()):
            return {}
        left = self._of(done)
        if left and values:
            values.clear()
        until = time.monotonic() + PATIENCE
        while left and time.monotonic() < until:
            gc.collect()
            left = self._of(done)
            if left:
                time.sleep(POLL)
        found: dict[object, list[Leak]] = {}
        for key, leak in left.items():
            owner = self._owners.pop(key)
            self._owners[key] = None
            if owner is not failed:
                found.setdefault(owner, []).append(leak)
        return found

    def _of(self, owners: list[object]) -> dict[Key, Leak]:
        return {
            key: leak
            for key, leak in held.snapshot().items()
            if _is_left(leak) and any(self._owners.get(key) is owner for owner in owners)
        }

    def _report(self, item: pytest.Item, left: dict[object, list[Leak]]) -> None:
        mode, allow = self._asked(item)
        lines = []
        for owner, found in left.items():
            kept = [leak for leak in found if not is_allowed(leak, allow)]
            if kept:
                lines.append(f"left by {self._names.get(owner, 'this test')}:")
                lines += [line for leak in kept for line in _lines(leak)]
        if not lines or mode == "off":
            return
        if mode == "warn":
            warnings.warn(LeakWarning("\n".join(lines)), stacklevel=1)
        else:
            pytest.fail("\n".join(lines), pytrace=False)

    def _asked(self, item: pytest.Item) -> tuple[str, tuple[str, ...]]:
        """Return the mode for a test, and what it may leave."""
        mark = item.get_closest_marker(NAME)
        if mark is not None:
            mode = mark.args[0] if mark.args else mark.kwargs.get("mode", "fail")
            return str(mode), (*self._allow, *mark.kwargs.get("allow", ()))
        if self._mode == "off" and NAME in getattr(item, "fixturenames", ()):
            return "fail", self._allow
        return self._mode, self._allow


def _is_left(leak: Leak) -> bool:
    """Tell whether something counts: a queue by fork has no semaphores that could leak."""
    return bool(leak.names or leak.unread or leak.feeding or leak.pid is not None)


def _lines(leak: Leak) -> list[str]:
    text = "    " + str(leak)
    source = sites.source(leak.line) if leak.line is not None else ""
    return [text, f"        {source}"] if source else [text]
