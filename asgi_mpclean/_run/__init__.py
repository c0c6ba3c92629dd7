"""`asgi-mpclean run`: a program that nobody changes gets what an app has that registers nothing.

`clean_end` is loaded into each Python process of the program, which may be one of an environment
without this library. When such a process makes its first semaphore, shared memory or child process,
it loads the library, and `unregistered` switches on what `register` and a wrapped app switch on.
"""
