"""Shared memory, and a signal that ends the process without Python's exit."""

import time
from multiprocessing.shared_memory import SharedMemory

from asgi_mpclean import register

memory = register(SharedMemory(create=True, size=1))
print("ready", flush=True)
while True:
    time.sleep(0.05)
