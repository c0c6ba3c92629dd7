"""A resource tracker that somebody has killed."""

import multiprocessing
import os
import signal
from multiprocessing import resource_tracker

spawn = multiprocessing.get_context("spawn")
lock = spawn.Lock()
tracker = resource_tracker._resource_tracker
os.kill(tracker._pid, signal.SIGKILL)  # type: ignore[attr-defined]
os.waitid(os.P_PID, tracker._pid, os.WEXITED | os.WNOWAIT)  # type: ignore[attr-defined]
another = spawn.Lock()
