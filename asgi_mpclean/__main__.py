"""`asgi-mpclean`, or `python -m asgi_mpclean`: see whether a server exits clean."""

from __future__ import annotations

import importlib.util
import sys

# What the extra "cli" installs.
EXTRA = ("click", "psutil", "rich")


def main() -> int:
    """Run the command line.

    Returns:
        The exit status: 0 clean, 1 not, 2 wrong use.
    """
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"asgi-mpclean needs {' and '.join(missing)}: pip install 'asgi-mpclean[cli]'\n"
        )
        return 2
    try:
        from ._check.cli import run  # noqa: PLC0415 - what it imports is an extra
    except ImportError as error:  # It is installed, and does not work on this system.
        sys.stderr.write(f"asgi-mpclean cannot be used here: {error}\n")
        return 2

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
