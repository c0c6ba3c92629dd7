"""A worker that tells the tracker, which it shares with its parent, to forget a block."""

import multiprocessing
import time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory


def work(name: str) -> None:
    """Do what many answers on the web say."""
    memory = SharedMemory(name)
    resource_tracker.unregister(f"/{memory.name}", "shared_memory")
    memory.close()


if __name__ == "__main__":
    memory = SharedMemory(create=True, size=1)
    worker = multiprocessing.get_context("spawn").Process(target=work, args=(memory.name,))
    worker.start()
    worker.join()
    memory.unlink()
    time.sleep(0.5)
