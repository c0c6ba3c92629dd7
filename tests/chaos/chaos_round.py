"""One round of chaos, a script: `chaos_round.py SEED METHOD FAULT...`."""

from __future__ import annotations

import sys

from faults import FAULTS
from world import World


def main(seed: str, method: str, *names: str) -> None:
    """Make an app, have things go wrong, and end it."""
    world = World(int(seed), method)
    world.populate()
    for name in names:
        FAULTS[name].inject(world)
    world.run_to_the_end()


if __name__ == "__main__":
    main(*sys.argv[1:])
