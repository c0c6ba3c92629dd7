"""The pytest plugin: a test that leaves something of multiprocessing behind fails, with the line.

`plugin` is what pytest loads, in every session: options and nothing else. `watch` is loaded once a
test is to be watched; `allowed` is the list of what may stay.
"""
