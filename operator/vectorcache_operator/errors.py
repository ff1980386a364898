"""Errors of the Kubernetes API, as the operator tells them apart.

VectorCacheError
├── ApiRefused(status, reason)   the API says no: trying again without a change does not help
│   ├── ApiConflict              the object, or a field of it, belongs to somebody else
│   ├── ApiGone                  there is no such object
│   └── NamespaceTerminating         the namespace is being deleted, and all that is in it with it
└── Unavailable
    └── ApiUnavailable           the API did not answer, or is too busy; the queue tries again
"""

from __future__ import annotations

from vectorcache.errors import Unavailable, VectorCacheError


class ApiRefused(VectorCacheError):
    """The API refused a request; the text is the API's own message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ApiConflict(ApiRefused):
    """Status 409."""


class ApiGone(ApiRefused):
    """Status 404."""


class NamespaceTerminating(ApiRefused):
    """Status 403, because of that."""


class ApiUnavailable(Unavailable):
    """No answer in time, no connection, 429 or 5xx."""
