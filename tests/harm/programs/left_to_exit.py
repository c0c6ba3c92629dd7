"""A script whose queues are left to its exit: what is in them is stored in a database there.

Its words: the file of the database, how it is stopped, and the number of items. What it puts
before its server runs is the server's at CTRL-C; what it puts afterwards is the exit's.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
from typing import Any

import serving
from starlette.applications import Starlette

from asgi_mpclean import mpclean_lifespan, register

PATH, STOP, COUNT, ENDS = sys.argv[1:5] if len(sys.argv) > 1 else ("", "", "0", "")
CTX: Any = multiprocessing.get_context(os.environ.get("METHOD", "spawn"))
PAYLOAD = "x" * 1024


class Store:
    """Stores items, by a connection for each or by one for all."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(PATH, check_same_thread=False)
        with self.connection as cursor:
            cursor.execute("CREATE TABLE items (number INTEGER)")

    def by_one_for_all(self, item: tuple[int, str]) -> None:
        with self.connection as cursor:
            cursor.execute("INSERT INTO items VALUES (?)", item[:1])

    def by_one_for_each(self, item: tuple[int, str]) -> None:
        with contextlib.closing(sqlite3.connect(PATH)) as connection, connection as cursor:
            # 150 waits for a busy disk may take longer than the exit has.
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.execute("INSERT INTO items VALUES (?)", item[:1])


def main() -> None:
    store = Store()
    app = Starlette(lifespan=mpclean_lifespan())
    first = register(CTX.Queue(), on_item=store.by_one_for_all, name="first")
    second = register(CTX.Queue(), on_item=store.by_one_for_each, name="second")
    half = int(COUNT) // 2
    for number in range(half):
        first.put((number, PAYLOAD))
    with contextlib.suppress(KeyboardInterrupt):
        serving.by_uvicorn_server(app)
    # It goes on, as it does without the library.
    for number in range(half, int(COUNT)):
        second.put((number, PAYLOAD))
    print("after the server", flush=True)
    if ENDS == "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(10)
    if ENDS == "error":
        msg = "on purpose"
        raise OSError(msg)
    if ENDS == "thread":  # One that ends after the main thread.
        threading.Timer(0.2, print, ["the last thread ends"], {"flush": True}).start()


if __name__ == "__main__":
    main()
