"""Another program in this process: exec functions that clean up first, and running this one again.

In comes a command; out goes a process with nothing of the old one left behind.
"""
