"""What only Windows can show. `.ci/windows` runs these on a Linux machine, by Wine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# For the children, which are started in other folders.
if sys.platform == "win32":
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.platform == "win32":
        return
    skip = pytest.mark.skip(reason="Windows: .ci/windows runs them")
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(skip)
