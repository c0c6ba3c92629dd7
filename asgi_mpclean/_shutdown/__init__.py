"""The clean-up: what triggers it, in which order it goes, and how signals lead to it.

In comes a trigger, as a `Request`; `triggers` sees to it that each thing is cleaned once; `plan`
takes the closers of `_resources` through their steps under one deadline; out goes a report.
"""
