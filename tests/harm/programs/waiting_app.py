"""Requests that wait for workers when the server is stopped."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
from typing import TYPE_CHECKING, Any

import harm_work
from harm_serve import REGISTERED, app_of, say

import asgi_mpclean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ctx: Any = multiprocessing.get_context(os.environ.get("METHOD", "spawn"))
LONG = 600.0
made: dict[str, Any] = {}


def _kept(resource: Any) -> Any:
    return asgi_mpclean.register(resource) if REGISTERED else resource


def _pool() -> Any:
    return _kept(ctx.Pool(2, initializer=asgi_mpclean.worker_init))


async def case() -> AsyncIterator[None]:
    """Make what the request needs, and no more."""
    kind = os.environ["CASE"]
    if kind.startswith("pool"):
        made["pool"] = _pool()
        made["pool"].map(harm_work.sleep, [0.1] * 2, chunksize=1)  # The workers have begun.
    elif kind == "executor":
        made["executor"] = _kept(
            concurrent.futures.ProcessPoolExecutor(
                1, mp_context=ctx, initializer=asgi_mpclean.worker_init
            )
        )
        made["executor"].submit(harm_work.sleep, 0).result()
    else:
        kinds = {"queue": ctx.Queue, "joinable": ctx.JoinableQueue, "simple": ctx.SimpleQueue}
        make = kinds.get(kind, ctx.Queue)
        made["jobs"], made["results"] = _kept(ctx.Queue()), _kept(make())
        process: Any = asgi_mpclean.Process if REGISTERED else ctx.Process
        options = {"ctx": ctx} if REGISTERED else {}
        worker = process(target=harm_work.answer, args=(made["jobs"], made["results"]), **options)
        worker.start()
        made["jobs"].put(0)
        made["results"].get()
    yield


WAYS: dict[str, Any] = {
    "pool.map": lambda: made["pool"].map(harm_work.sleep, [LONG] * 2, chunksize=1),
    "pool.apply": lambda: made["pool"].apply(harm_work.sleep, (LONG,)),
    "pool.imap": lambda: list(made["pool"].imap(harm_work.sleep, [LONG] * 3)),
    "pool.wait": lambda: made["pool"].apply_async(harm_work.sleep, (LONG,)).wait(),
    "executor": lambda: made["executor"].submit(harm_work.sleep, LONG).result(),
}


def _ask() -> Any:
    made["jobs"].put(LONG)
    return made["results"].get()


def wait() -> str:
    """Wait for a worker, and say when that is over, however it ends."""
    say("waiting")
    try:
        WAYS.get(os.environ["CASE"], _ask)()
    finally:
        say("freed")
    return "done"


app = app_of(case, wait=wait)
