"""What a handler does with a signal, for each combination of what can be known when it comes."""

from __future__ import annotations

import itertools

import pytest

from asgi_mpclean._shutdown.signals.decision import Action, Moment, decide

FIELDS = Moment._fields

# One column for each field of `Moment`, in their order; "-" where it makes no difference.
TABLE = [
    # held back
    # | out of place
    # | | in a forked worker
    # | | | kills
    # | | | | making
    # | | | | | repeated
    # | | | | | | the server decides
    ("1 - - - - - -", Action.HOLD_BACK),
    ("0 1 1 - - - -", Action.DIE),
    ("0 1 0 - - - -", Action.FORWARD),
    ("0 0 - 1 1 - -", Action.POSTPONE),
    ("0 0 - 1 0 - -", Action.CLEAN_THEN_FORWARD),
    ("0 0 - 0 - 1 0", Action.CLEAN_THEN_FORWARD),
    ("0 0 - 0 - 1 1", Action.FORWARD_THEN_LOOK),
    ("0 0 - 0 - 0 -", Action.FORWARD_THEN_LOOK),
]


def moments(row: str) -> list[Moment]:
    """Return each moment that a row stands for."""
    choices = {"0": [False], "1": [True], "-": [False, True]}
    return [Moment(*values) for values in itertools.product(*(choices[c] for c in row.split()))]


@pytest.mark.parametrize(("row", "action"), TABLE)
def test_what_is_done(row: str, action: Action) -> None:
    assert {decide(moment) for moment in moments(row)} == {action}


def test_the_table_has_each_moment_once() -> None:
    listed = [moment for row, _ in TABLE for moment in moments(row)]
    assert len(listed) == len(set(listed)) == 2 ** len(FIELDS)


def test_each_action_is_one_of_the_table() -> None:
    assert {action for _, action in TABLE} == set(Action)
