"""What runs in a worker: how it takes its signals, ends with its parent, and is seen from outside.

`signals` and `parent` are for code in the child; `tree` is how a parent looks at what its workers
have started. Nothing here needs a registry.
"""
