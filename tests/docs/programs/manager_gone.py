"""A proxy that is used when its manager has ended."""

import multiprocessing

if __name__ == "__main__":
    manager = multiprocessing.get_context("spawn").Manager()
    jobs = manager.list()
    manager.shutdown()
    jobs.append("a job")
