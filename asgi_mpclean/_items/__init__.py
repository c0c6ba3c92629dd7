"""Items on their way out: read raw from a pipe, unpickled, and given to `on_item`.

In come the descriptor of a pipe and the backlog of a queue; out go calls of the user's function,
in order, and the counts of what was delivered, dropped and failed.
"""
