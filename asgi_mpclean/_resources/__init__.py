"""The kinds of resources, one file each: what it is, how it is closed, and when it is spent.

In comes an `Entry`, a resource with the options it was registered with; its closer takes it through
the steps of a clean-up and writes into its `ResourceReport`. `kinds` is the list of all kinds.
"""
