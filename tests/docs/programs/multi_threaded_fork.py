"""A fork in a process that has threads, as each server has."""

import multiprocessing
import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
process = multiprocessing.get_context("fork").Process(target=print)
process.start()
process.join()
