"""What pytest loads: options, the mark and the fixture. It is off until one of them asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from asgi_mpclean._trace.held import Leak

    from .watch import Watch

MODES = ("fail", "warn", "off")
NAME = "mp_leaks"
_WATCH = "asgi-mpclean-watch"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, and the same for the configuration file."""
    group = parser.getgroup("asgi-mpclean")
    group.addoption(
        "--mp-leaks",
        choices=MODES,
        metavar="|".join(MODES),
        help="fail, or warn of, tests that leave semaphores, shared memory, child processes, feeder"
        " threads or unread queues of multiprocessing behind",
    )
    parser.addini(NAME, "the same as --mp-leaks: fail, warn or off", default="off")
    parser.addini(
        f"{NAME}_allow",
        'what may be left, one a line: a kind such as "Queue", or a kind and where it is made, such'
        ' as "Queue */native.py:25"; "*" stands for anything',
        type="linelist",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch, if it is asked for for all tests."""
    config.addinivalue_line(
        "markers",
        f"{NAME}(mode='fail', allow=()): what this test leaves of multiprocessing makes it fail, or"
        " warns; 'off' for neither. What allow lists may be left.",
    )
    if mode_of_session(config) != "off":
        _watch(config)


def mode_of_session(config: pytest.Config) -> str:
    """Return what was asked for, for all tests.

    Raises:
        pytest.UsageError: The configuration file has something else.
    """
    mode = config.getoption("mp_leaks") or config.getini(NAME)
    if mode not in MODES:
        msg = f"{NAME} = {mode!r} is none of {', '.join(MODES)}"
        raise pytest.UsageError(msg)
    return str(mode)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin to watch, if this test asks for it."""
    if item.get_closest_marker(NAME) or NAME in getattr(item, "fixturenames", ()):
        _watch(item.config).begin(item)


@pytest.fixture(name=NAME)
def mp_leaks(request: pytest.FixtureRequest) -> Callable[[], list[Leak]]:
    """Return a function that lists what this test has made of multiprocessing and still holds.

    A test that uses the fixture fails if it leaves something behind.
    """
    watch, item = _watch(request.config), request.node
    return lambda: watch.held_by(item)


def _watch(config: pytest.Config) -> Watch:
    """Return what watches the tests of a session, which begins now if it has not."""
    from .watch import Watch  # noqa: PLC0415 - only once it is asked for

    found = config.pluginmanager.get_plugin(_WATCH)
    if not isinstance(found, Watch):
        found = Watch(mode_of_session(config), config.getini(f"{NAME}_allow"))
        config.pluginmanager.register(found, _WATCH)
        config.add_cleanup(found.close)
    return found
