"""A script without a condition around its main part."""

import multiprocessing

process = multiprocessing.get_context("spawn").Process(target=print)
process.start()
process.join()
