"""A child by fork that asks after its parent's other child."""

import multiprocessing
import time

if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    sibling = fork.Process(target=time.sleep, args=(0.5,))
    sibling.start()
    asking = fork.Process(target=sibling.is_alive)
    asking.start()
    asking.join()
