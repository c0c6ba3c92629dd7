"""A process that is closed before it has ended."""

import multiprocessing
import time

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(1,))
    process.start()
    process.close()
