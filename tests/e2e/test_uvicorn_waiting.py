"""Apps that wait, in their own shutdown, for what does not end by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from uvicorn_cases import CTRL_C, SIGTERM, Case, check, hangs_without_library, run

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 1.5
RESULTS = 300


def case(
    wait: str, how: str, method: str = "spawn", wrap: str = "wrapper", timeout: float = TIMEOUT
) -> Case:
    return Case(
        "waiting", how, method=method, wrap=wrap, timeout=timeout, env=(("MPC_WAIT", wait),)
    )


@pytest.mark.parametrize(
    ("case", "results"),
    [
        (case("join", CTRL_C, "fork"), RESULTS),
        (case("join", SIGTERM, wrap="lifespan"), RESULTS),
        (case("thread", SIGTERM, "forkserver"), RESULTS),
        (case("queue", CTRL_C), RESULTS),
        (case("queue", SIGTERM, "fork", wrap="lifespan"), RESULTS),
        (case("pool", SIGTERM), 0),
        (case("job", SIGTERM, timeout=5), RESULTS),
        (case("executor", SIGTERM), 0),
        (case("executor", CTRL_C, "fork"), 0),
    ],
    ids=str,
)
@pytest.mark.sampled(3)
def test_the_clean_up_begins_before_the_app_has_shut_down(
    case: Case, results: int, tmp_path: Path
) -> None:
    outcome, account = run(case, tmp_path)
    check(case, outcome)
    assert account.sorted_numbers("result") == list(range(results))


def test_workers_of_a_pool_that_ctrl_c_has_ended_do_not_hold_up_its_end(tmp_path: Path) -> None:
    outcome, _account = run(case("pool", CTRL_C), tmp_path)
    # Plain workers: each of them says that it was interrupted.
    interrupted = outcome.output.count("KeyboardInterrupt")
    check(case("pool", CTRL_C), outcome, tracebacks=interrupted)


def test_an_app_that_takes_its_time_keeps_its_queues(tmp_path: Path) -> None:
    outcome, account = run(case("nothing", SIGTERM), tmp_path)
    assert outcome.faults == []
    assert outcome.seconds > TIMEOUT
    assert account.sorted_numbers("result") == list(range(RESULTS))


@pytest.mark.parametrize("wait", ["join", "queue"])
@pytest.mark.sampled(2)
def test_without_the_library_it_hangs(wait: str) -> None:
    assert hangs_without_library(case(wait, SIGTERM))
