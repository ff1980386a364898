"""Masking of API keys and passwords in settings."""

from __future__ import annotations

import re
from typing import Any

MASK = "***"
_NAMES = re.compile(r"(^|[._-])(api_?key|key|password|secret|token)$", re.IGNORECASE)
_PASSWORD = re.compile(r"(?<=://)([^/@\s]*):[^/\s]*@")


def masked(key: str, value: Any) -> Any:
    """Return a value with its secrets, and passwords in URLs, replaced by ``MASK``."""
    if isinstance(value, dict):
        return {name: masked(str(name), one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(key, one) for one in value]
    if value and _NAMES.search(key):
        return MASK
    return _PASSWORD.sub(rf"\1:{MASK}@", value) if isinstance(value, str) else value
