"""The id of the current request: taken from the caller or generated, passed on to called servers, and logged."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar

HEADER = "X-Request-ID"

_ALLOWED = re.compile(r"[A-Za-z0-9._-]{1,128}")
_current: ContextVar[str | None] = ContextVar("vectorcache_request_id", default=None)


def begin(given: str | None) -> str:
    """Set and return the id of this task's request: the caller's id if it is well formed, otherwise a new one."""
    chosen = given if given and _ALLOWED.fullmatch(given) else uuid.uuid4().hex
    _current.set(chosen)
    return chosen


def current() -> str | None:
    """Return the id of the current request, or None outside of a request."""
    return _current.get()


def outgoing_headers() -> dict[str, str]:
    """Return the headers that pass the id on to another server. Empty outside of a request."""
    chosen = _current.get()
    return {HEADER: chosen} if chosen else {}
