"""What a clean-up says in the log: one line, and a warning for each thing to look at."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asgi_mpclean._report import CleanupReport, ResourceReport

logger = logging.getLogger("asgi_mpclean")

# Folders of installed packages: items in a queue that belongs to a package are not the app's.
INSTALLED = ("site-packages", "dist-packages")


def log(report: CleanupReport) -> None:
    """Write one line, and a warning for each thing that a person should look at."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", report.summary())
    for entry in report.resources:
        _warn(entry)
    if report.deadline_passed:
        logger.warning("the clean-up took longer than its %g s", report.timeout)


def _warn(entry: ResourceReport) -> None:
    what = entry.kind, entry.name
    if entry.dropped and (entry.registered or not _is_of_a_package(entry.name)):
        logger.warning("%s %s: %d items dropped", *what, entry.dropped)
    if entry.cancelled:
        logger.warning("%s %s: %d jobs cancelled", *what, entry.cancelled)
    if entry.error is not None:
        logger.warning("%s %s: on_item failed for %d items: %s", *what, entry.failed, entry.error)
    if entry.outcome in {"killed", "still running"}:
        logger.warning("%s %s: %s", *what, entry.outcome)


def _is_of_a_package(name: str) -> bool:
    """Tell whether a variable, by its full name, is one of an installed package."""
    file = getattr(sys.modules.get(name.rpartition(".")[0]), "__file__", None) or ""
    return any(folder in file for folder in INSTALLED)
