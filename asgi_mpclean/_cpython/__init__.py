"""The room for CPython's private names: the only one that touches an underscore of its modules.

`multiprocessing` has no public way to take an unsent item back, to leave a feeder thread alone or
to unlink a semaphore. The names used here have been the same from 3.8 to 3.15. `features` checks
each of them; where one is missing its `Feature` is off, and the functions here use the public way
instead (slower, and leaving semaphores to the interpreter's own exit).

In comes a resource of multiprocessing; out go facts about it, or what was done to it.
"""
