"""Which line leaked: what a program's processes make of multiprocessing, and what stays of it.

`recorder/` works inside the processes and needs nothing of the rest: it writes one file a process,
line by line. `launch` runs a command with it; `reading` and `findings` make sense of the files when
all processes have ended; `text` and `page` show what was found. `held` has the public `trace()` and
`leaks()`, which use the recorder in this process, without files.
"""
