"""Tests of an app that uses the library: of `fastapi_app.py`, which is beside this folder.

pytest examples/test_suite
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[1]))

import fastapi_app

SECONDS = 20


def test_the_worker_squares_numbers() -> None:
    """Hand in a number, and wait for its square."""
    # Without `with`, a TestClient runs no lifespan.
    with TestClient(fastapi_app.app) as client:
        assert client.post("/jobs/7").status_code == 202
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            if client.get("/status").json()["finished"] == {"7": 49}:
                break
            time.sleep(0.05)
    assert fastapi_app.finished == {7: 49}


def test_each_job_is_done_or_kept() -> None:
    """End the app while there is work: nothing is lost."""
    fastapi_app.finished.clear()
    with TestClient(fastapi_app.app) as client:
        for number in range(100):
            client.post(f"/jobs/{number}")
    assert sorted([*fastapi_app.finished, *fastapi_app.unfinished]) == list(range(100))
