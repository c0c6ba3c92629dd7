"""Everything goes wrong, on purpose: what holds then is the same for every fault.

The app ends within its deadline and leaves no process, no semaphore and no traceback; of the items
that reached a queue each has been delivered, in order, or dropped and reported as such.
"""

from __future__ import annotations

import collections
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faults import FAULTS, METHODS

from asgi_mpclean._check.server import Server
from asgi_mpclean._check.shm import can_unshare

if TYPE_CHECKING:
    from conftest import ChaosLog

    from asgi_mpclean._check.outcome import Outcome

SCRIPT = Path(__file__).with_name("chaos_round.py")
PATIENCE = 120.0
"""Seconds after which a round is said to hang."""

# `/dev/shm` with room for a dozen semaphores. The shell waits and tells what is left there.
SMALL_SHM = """
mount -t tmpfs -o size=64k chaos /dev/shm && "$0" "$@"; status=$?
ls -A /dev/shm | sed 's/^/LEFT /'; exit $status
"""

ALONE = [(name, method) for name, fault in FAULTS.items() for method in fault.methods]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "round_seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("chaos_seed") * 1000
        rounds = metafunc.config.getoption("chaos_rounds")
        metafunc.parametrize("round_seed", range(first, first + rounds))


class Round:
    """A process in which things go wrong, and what it said and left.

    Args:
        seed: Chooses counts, sizes, moments, the kinds of queue and worker, and how it ends.
        method: The start method.
        names: The faults.
    """

    def __init__(self, seed: int, method: str, names: list[str]) -> None:
        command = [sys.executable, str(SCRIPT), str(seed), method, *names]
        if any(FAULTS[name].own_shm for name in names):
            command = ["sh", "-c", SMALL_SHM, *command]
        with Server(*command) as server:
            self.outcome: Outcome = server.finish(PATIENCE)
            ended_at = server._ended_at
        self.said = collections.defaultdict[str, list[Any]](list)
        self.noise: list[str] = []
        for line in self.outcome.output.splitlines():
            word, _, facts = line.partition(" ")
            if word in {"BEGIN", "REPORT", "GOT", "SIZE", "STEPS"}:
                self.said[word].append(json.loads(facts))
            else:
                self.noise.append(line)
        assert len(self.said["BEGIN"]) == 1, self.outcome.output
        self.begin = self.said["BEGIN"][0]
        self.seconds = ended_at - self.begin["at"]
        self.allowed = [FAULTS[name].says for name in names if FAULTS[name].says]

    def count(self, what: str) -> collections.Counter[str]:
        """Return how many items were delivered or dropped, by the queue's name."""
        counted: collections.Counter[str] = collections.Counter()
        for report in self.said["REPORT"]:
            for entry in report["resources"]:
                counted[entry["name"]] += entry[what]
        return counted

    @property
    def faults(self) -> list[str]:
        """Return everything that is not as it should be, in words."""
        found = [
            fault
            for fault in self.outcome.faults
            if not any(allowed in fault for allowed in self.allowed)
        ]
        found += [line for line in self.noise if line.startswith("LEFT ")]
        if self.outcome.status not in {0, -15, 143}:
            found.append(f"exit status {self.outcome.status}")
        if self.seconds > self.begin["timeout"] + 1:
            found.append(f"{self.seconds:.2f} s instead of {self.begin['timeout']}")
        return found + self._wrong_counts()

    @property
    def _had_time(self) -> bool:
        return all(report["seconds"] < 0.9 * report["timeout"] for report in self.said["REPORT"])

    def _wrong_counts(self) -> list[str]:
        found = []
        delivered, dropped = self.count("delivered"), self.count("dropped")
        for name, entered in self.begin["entered"].items():
            counts = f"{name}: {entered} in, {delivered[name]} delivered, {dropped[name]} dropped"
            if entered != delivered[name] + dropped[name]:
                found.append(counts)
            elif dropped[name] > self.begin["lossy"].get(name, 0) and self._had_time:
                found.append(f"{counts}, with time left")
        for name, numbers in (self.said["GOT"] or [{}])[-1].items():
            if numbers != sorted(set(numbers)):
                found.append(f"{name}: out of order, or twice: {numbers}")
            if len(numbers) < delivered[name]:
                found.append(f"{name}: {len(numbers)} received, {delivered[name]} reported")
        return found


def survive(seed: int, method: str, names: list[str], log: ChaosLog) -> None:
    if any(FAULTS[name].own_shm for name in names) and not can_unshare():
        pytest.skip("only root can have a /dev/shm of its own")
    log.injected += len(names)
    result = Round(seed, method, names)
    faults = result.faults
    assert not faults, "\n".join([*faults, result.outcome.output])
    log.survived += len(names)
    log.rounds += 1
    log.items += sum(result.begin["entered"].values())
    log.delivered += sum(result.count("delivered").values())
    log.dropped += sum(result.count("dropped").values())
    log.notes += [f"the long frame had {size:,} bytes" for size in result.said["SIZE"]]
    log.notes += [f"signals at {steps} steps of a clean-up" for steps in result.said["STEPS"]]


@pytest.mark.timeout(PATIENCE + 30)
@pytest.mark.parametrize(("name", "method"), ALONE)
@pytest.mark.sampled(6)
def test_a_fault(name: str, method: str, pytestconfig: pytest.Config, chaos_log: ChaosLog) -> None:
    survive(pytestconfig.getoption("chaos_seed"), method, [name], chaos_log)


@pytest.mark.timeout(PATIENCE + 30)
def test_faults_together(round_seed: int, chaos_log: ChaosLog) -> None:
    rng = random.Random(round_seed)  # noqa: S311 - it shall be repeatable
    names = rng.sample([name for name in FAULTS if FAULTS[name].combines], rng.choice((2, 3)))
    names = [name for name in names if FAULTS[name].not_with not in names]
    survive(round_seed, rng.choice(METHODS), names, chaos_log)
