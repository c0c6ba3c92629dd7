"""A pool that nobody closes."""

import multiprocessing

if __name__ == "__main__":
    pool = multiprocessing.get_context("spawn").Pool(1)
    pool.apply(abs, (-1,))
    del pool
