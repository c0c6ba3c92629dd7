"""The way into the Python processes of a command that nobody changes.

`environment` is the parent's side. `inside/` is what the processes load: its folder is put first
on PYTHONPATH, so that the interpreter finds the `sitecustomize` there when it starts. That runs the
one which it hides, and then waits until the program imports multiprocessing; only then are the
*hooks* loaded, files that are given by their paths. What is in `inside/` is run by the Python of
another environment, where this package is not installed: it imports nothing but the standard
library.
"""
