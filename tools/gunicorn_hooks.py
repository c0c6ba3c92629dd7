"""The hooks that people write in gunicorn's configuration to end the workers of an app."""

from __future__ import annotations

from typing import Any

from alternatives import end_workers


def worker_int(_worker: Any) -> None:
    """End what the worker has started, on SIGINT and SIGQUIT."""
    end_workers()


def worker_exit(_server: Any, _worker: Any) -> None:
    """End what the worker has started, just before it ends."""
    end_workers()
