"""Found before any other `sitecustomize`, as its folder is first on PYTHONPATH.

The folder is taken from `sys.path` again, so that the program sees the path that it would have
seen, and whoever starts another Python still has PYTHONPATH in the environment. Then the
`sitecustomize` that this one hides is imported in its place. Where there is none, the ImportError
is what the interpreter would have had without this file, and ignores.

This file is plain enough for any Python: a program may start one that is older than those which
can be injected into.
"""

import os
import sys

_folder = os.path.dirname(os.path.abspath(__file__))
try:
    if sys.version_info >= (3, 10) and sys.implementation.name == "cpython":
        import _asgi_mpclean_inject

        _asgi_mpclean_inject.begin()
finally:
    sys.path[:] = [_path for _path in sys.path if _path != _folder]
    sys.path_importer_cache.pop(_folder, None)
    del sys.modules["sitecustomize"]

import sitecustomize  # noqa: E402, F401 - the one that was hidden
