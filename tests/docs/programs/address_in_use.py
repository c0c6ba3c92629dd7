"""A server that is killed while a worker by fork holds its socket, and that is started again."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

command = [sys.executable, "-m", "uvicorn", "--port", os.environ["PORT"], "server_app:app"]
with subprocess.Popen(command) as server:
    for _ in range(200):
        time.sleep(0.1)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/fork") as answer:
                print(answer.read().decode(), flush=True)
            break
        except OSError:
            continue
    server.send_signal(signal.SIGTERM)
subprocess.run(command, check=False)
