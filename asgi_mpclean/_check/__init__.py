"""Does an app exit clean? Start its server for real, stop it by real signals, count what is left.

Nothing else in the package imports this. `server` runs one process and counts, `processes` finds
what it has started, and `system` has what differs between POSIX and Windows; `commands` knows how
servers are started, `stops` how they are stopped; `run` does one run of a check and `findings` says
what to do about what it found; `cli`, `screen` and `page` show it.
"""
