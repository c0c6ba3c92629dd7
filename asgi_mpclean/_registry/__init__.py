"""What an app has registered, and the parent's side of a `Process`.

In comes a resource with its options, checked here; out goes a list of `Entry`, when a clean-up
begins. Only `registering` needs the rest of the library, and the first `register` loads it.
"""
