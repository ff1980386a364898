"""The id of the request that runs: taken from its caller or made, passed on to who is called, and logged."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar

HEADER = "X-Request-ID"

_ALLOWED = re.compile(r"[A-Za-z0-9._-]{1,128}")
_current: ContextVar[str | None] = ContextVar("vectorcache_request_id", default=None)


def begin(given: str | None) -> str:
    """Set the id of this task's request: the caller's where it is well formed, else a new one."""
    chosen = given if given and _ALLOWED.fullmatch(given) else uuid.uuid4().hex
    _current.set(chosen)
    return chosen


def current() -> str | None:
    """The id of the request that runs, or None outside of one."""
    return _current.get()


def outgoing_headers() -> dict[str, str]:
    """The headers that carry the id on to another server; none outside of a request."""
    chosen = _current.get()
    return {HEADER: chosen} if chosen else {}
