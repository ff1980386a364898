"""Every error that VectorCache raises on purpose.

    VectorCacheError
    ├── InvalidInput(field, value, allowed)   the caller's mistake; never retried          (also a ValueError)
    ├── NotFound(kind, name)                  what was named does not exist                (also a LookupError)
    ├── Conflict                              a conditional write lost the race
    ├── CorruptData                           bytes that are not what was written
    └── Unavailable                           may work when tried again
        ├── DeadlineExceeded                  the time given was not enough                (also a TimeoutError)
        └── Overloaded                        a bounded queue is full

Errors of libraries are wrapped where they enter, with ``raise ... from error``, so that callers tell the
retryable from the permanent by one ``except Unavailable``.
"""

from __future__ import annotations


class VectorCacheError(Exception):
    """Root of the tree."""


class InvalidInput(VectorCacheError, ValueError):
    """A value that is not allowed: says which field, which value and what is allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}: {_short(value)} is not allowed; allowed: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class NotFound(VectorCacheError, LookupError):
    """What was named does not exist."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name!r} does not exist")
        self.kind = kind
        self.name = name


class Conflict(VectorCacheError):
    """A conditional write found something else than it expected; read again and decide anew."""


class CorruptData(VectorCacheError):
    """Bytes that are torn, truncated, foreign or of a format that this version does not read."""


class Unavailable(VectorCacheError):
    """A dependency did not do its work this time; trying again may help."""


class DeadlineExceeded(Unavailable, TimeoutError):
    """The time given was not enough."""


class Overloaded(Unavailable):
    """A bounded queue is full; come back later."""


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    half = limit // 2  # the end of a path tells more than its middle
    return text if len(text) <= limit else f"{text[: half - 1]}…{text[-half:]}"
