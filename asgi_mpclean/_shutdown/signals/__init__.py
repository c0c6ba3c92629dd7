"""Signals: chained, counted, restored; never taken away from the program that handles them.

A handler here calls the one that it found. Where it found none, and the signal would have killed
the process without a word, it cleans up first and lets the process die of the signal all the same.
`decision` decides what it does, `handler` does it, `watch` installs and restores handlers.
"""
