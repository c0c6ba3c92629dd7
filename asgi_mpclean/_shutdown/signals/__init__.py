"""Signals: chained, counted, restored; never taken away from whoever had them.

A handler here calls the one that it found. Where it found none, and the signal would have killed
the process without a word, it cleans up first and lets the process die of the signal all the same.
`decision` is what it does when; `handler` does it; `watch` installs and restores handlers.
"""
