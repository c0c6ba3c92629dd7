"""A queue that nobody reads, in a script whose exit waits for it until CTRL-C."""

import multiprocessing
import threading
import time

from asgi_mpclean import register

queue = register(multiprocessing.get_context("spawn").Queue(), on_item=lambda _item: None)
for _ in range(1000):
    queue.put(bytes(1024))


def wait() -> None:
    """Say when the exit has begun."""
    threading.main_thread().join()
    time.sleep(0.3)
    print("exiting", flush=True)


threading.Thread(target=wait, daemon=True).start()
