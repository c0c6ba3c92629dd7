"""A queue that only its process refers to; `start` lets go of the arguments."""

import multiprocessing
from typing import Any

from asgi_mpclean import register

spawn = multiprocessing.get_context("spawn")


def work(queue: Any) -> None:
    """Use the queue."""
    queue.put("done")


if __name__ == "__main__":
    process = spawn.Process(target=work, args=(register(spawn.Queue(), on_item=print),))
    process.start()
    process.join()
