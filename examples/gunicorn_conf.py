"""A configuration of gunicorn that leaves the library enough time.

Start it, hand work in, and press CTRL-C:

    gunicorn --config examples/gunicorn_conf.py --chdir examples fastapi_app:app
    curl -X POST localhost:8000/jobs/7
    curl localhost:8000/status
"""

from __future__ import annotations

import os

bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"
worker_class = "uvicorn_worker.UvicornWorker"
workers = 1  # Each has a lifespan, and so queues and processes, of its own.

# Gunicorn kills a worker that has not ended after so many seconds: what requests need, and the
# `timeout` of the library (5 by default) on top.
graceful_timeout = 20
