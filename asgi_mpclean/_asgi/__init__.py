"""The lifespans: an ASGI wrapper and a `lifespan=` callable around an app.

In come the messages of a server and its signals; out goes one clean-up when the app has shut down,
before the server is told so. Nothing here knows the resources of multiprocessing. `session` is one
run of a lifespan.
"""
