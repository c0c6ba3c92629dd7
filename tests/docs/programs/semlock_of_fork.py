"""A queue of one start method, and a process of another."""

import multiprocessing

if __name__ == "__main__":
    queue = multiprocessing.get_context("fork").Queue()
    multiprocessing.get_context("spawn").Process(target=print, args=(queue,)).start()
