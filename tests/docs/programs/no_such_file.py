"""Memory that another program has attached to, and that its owner unlinks first."""

import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory

OTHER = """
import sys
from multiprocessing.shared_memory import SharedMemory
from asgi_mpclean import clean, register
register(memory := SharedMemory(sys.argv[1]))
print("attached", flush=True)
sys.stdin.readline()
clean()
"""

memory = SharedMemory(create=True, size=1)
command = [sys.executable, "-c", OTHER, memory.name]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
    assert other.stdout is not None
    other.stdout.readline()
    memory.unlink()
    other.communicate("\n")
