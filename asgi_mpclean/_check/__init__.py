"""Does an app exit clean? Start its server for real, stop it by real signals, count what is left.

Nothing else in the package imports this. `server` runs one process and counts; `commands` knows how
servers are started, `stops` how they are stopped, `system` what of both is the system's own; `run` does one run of a check and `findings` says
what to do about what it found; `cli`, `screen` and `page` show it.
"""
