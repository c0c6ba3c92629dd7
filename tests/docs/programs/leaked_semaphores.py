"""A queue, and a signal that ends the process without Python's exit."""

import multiprocessing
import time

from asgi_mpclean import register

queue = register(multiprocessing.get_context("spawn").Queue())
print("ready", flush=True)
while True:
    time.sleep(0.05)
