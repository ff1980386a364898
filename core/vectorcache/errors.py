"""The errors that VectorCache raises.

    VectorCacheError
    ├── InvalidInput(field, value, allowed)   a value is not allowed; never retried        (also a ValueError)
    ├── NotFound(kind, name)                  an object does not exist                     (also a LookupError)
    ├── Conflict                              the condition of a write did not hold
    ├── CorruptData                           bytes are damaged
    └── Unavailable                           a retry may succeed
        ├── DeadlineExceeded                  the operation did not finish in time         (also a TimeoutError)
        └── Overloaded                        a bounded queue is full

Errors of libraries are wrapped where they are caught, with ``raise ... from error``. So ``except Unavailable``
catches all errors that may be retried, and no others.
"""

from __future__ import annotations


class VectorCacheError(Exception):
    """Base class of all errors."""


class InvalidInput(VectorCacheError, ValueError):
    """A value is not allowed. The error has the field, the value, and a description of the allowed values."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}: {_shortened(value)} is not allowed; allowed: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class NotFound(VectorCacheError, LookupError):
    """An object does not exist. The error has its kind and name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name!r} does not exist")
        self.kind = kind
        self.name = name


class Conflict(VectorCacheError):
    """The condition of a write did not hold. Read the current content again before a new attempt."""


class CorruptData(VectorCacheError):
    """Bytes are damaged, truncated, foreign, or in a format that this version does not read."""


class Unavailable(VectorCacheError):
    """A dependency failed temporarily. A retry may succeed."""


class DeadlineExceeded(Unavailable, TimeoutError):
    """An operation did not finish in time."""


class Overloaded(Unavailable):
    """A bounded queue is full. A later retry may succeed."""


def _shortened(value: object, limit: int = 80) -> str:
    text = repr(value)
    half = limit // 2  # the end of a path is more informative than its middle
    return text if len(text) <= limit else f"{text[: half - 1]}…{text[-half:]}"
