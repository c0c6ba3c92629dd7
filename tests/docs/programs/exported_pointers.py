"""Memory that is closed while something still looks at it."""

from multiprocessing.shared_memory import SharedMemory

memory = SharedMemory(create=True, size=8)
memory.unlink()
assert memory.buf is not None
view = memory.buf[:4]
memory.close()
