"""What tests may leave behind, by kind and by the line that made it."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asgi_mpclean._trace.held import Leak


def is_allowed(leak: Leak, entries: Iterable[str]) -> bool:
    """Tell whether something may be left.

    Args:
        leak: What is left.
        entries: A kind each, or a kind and a site; with the wildcards of `fnmatch`. A site without
            a line number stands for the whole file.
    """
    return any(_matches(leak, *entry.split(maxsplit=1)) for entry in entries if entry.strip())


def _matches(leak: Leak, kind: str, site: str = "*") -> bool:
    if not fnmatch.fnmatchcase(leak.kind, kind):
        return False
    made_at = leak.site or ""
    return any(fnmatch.fnmatchcase(found, site) for found in (made_at, made_at.rpartition(":")[0]))
