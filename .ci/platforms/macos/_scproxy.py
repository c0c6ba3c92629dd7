"""Be the module of macOS that `urllib.request` imports there."""

from __future__ import annotations


def _get_proxies() -> dict[str, str]:
    return {}


def _get_proxy_settings() -> dict[str, object]:
    return {"exclude_simple": False, "exceptions": []}
