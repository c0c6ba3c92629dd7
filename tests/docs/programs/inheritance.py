"""A queue as the argument of a pool's job."""

import multiprocessing

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    with spawn.Pool(1) as pool:
        pool.apply(print, (queue,))
