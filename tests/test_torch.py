"""torch's own queues, whose tensors travel by shared memory, are drained as those they extend."""

from __future__ import annotations

import time
from typing import Any

import pytest

from asgi_mpclean import Registry

torch: Any = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
mp: Any = pytest.importorskip("torch.multiprocessing")

COUNT = 50


def fill_with_tensors(results: Any) -> None:
    """Write tensors, and stay: who receives one gets its memory from this process."""
    for number in range(COUNT):
        results.put((number, torch.full((4,), float(number))))
    time.sleep(600)


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_tensors_left_in_a_queue_are_delivered(kind: str, method: str) -> None:
    context, registry = mp.get_context(method), Registry()
    own: list[list[float]] = []
    results: list[tuple[int, float]] = []
    mine = registry.register(
        getattr(context, kind)(), on_item=lambda item: own.append(item.tolist())
    )
    theirs = registry.register(
        context.Queue(), on_item=lambda item: results.append((item[0], item[1].sum().item()))
    )
    registry.Process(target=fill_with_tensors, args=(theirs,), ctx=context).start()
    for number in range(5):
        mine.put(torch.full((2,), float(number)))
    first, _ = theirs.get(timeout=50)
    report = registry.clean(10)
    assert own == [[number, number] for number in range(5)]
    assert first == 0
    assert results == [(number, 4.0 * number) for number in range(1, COUNT)]
    assert (report.delivered, report.dropped) == (5 + COUNT - 1, 0)
    assert all(entry.error is None for entry in report.resources)
