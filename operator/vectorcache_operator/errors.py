"""Errors of the Kubernetes API that the operator distinguishes.

VectorCacheError
├── ApiRefused(status, reason)   the API refuses the request: a retry without a change does not help
│   ├── ApiConflict              the object, or one of its fields, belongs to another client
│   ├── ApiGone                  the object does not exist
│   └── NamespaceTerminating     the namespace is being deleted with everything in it
├── NameTaken                    an object of a needed name belongs to somebody else
└── Unavailable
    └── ApiUnavailable           the API did not answer or is overloaded; the queue retries
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
    """Status 403 because the namespace is being deleted."""


class NameTaken(VectorCacheError):
    """An object of the wanted name exists and does not belong to the resource."""


class ApiUnavailable(Unavailable):
    """No answer in time, no connection, 429 or 5xx."""
