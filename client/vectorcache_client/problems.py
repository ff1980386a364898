"""Conversion of a server's problem document (RFC 9457) back to the error that it was made from."""

from __future__ import annotations

import re

import msgspec

from vectorcache.errors import (
    Conflict,
    CorruptData,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    Unavailable,
    VectorCacheError,
)

TYPE_PREFIX = "urn:vectorcache:problem:"


class Problem(msgspec.Struct, frozen=True):
    """A problem document. All fields are optional, so a foreign JSON object decodes to an empty one."""

    type: str = ""
    title: str = ""
    detail: str | None = None
    field: str | None = None
    value: str | None = None
    allowed: str | None = None
    request_id: str | None = None


_PLAIN: dict[str, type[VectorCacheError]] = {
    "conflict": Conflict,
    "corrupt-data": CorruptData,
    "overloaded": Overloaded,
    "unavailable": Unavailable,
    "deadline-exceeded": DeadlineExceeded,
}
_BY_STATUS: dict[int, type[VectorCacheError]] = {
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}
_MISSING = re.compile(r"(?P<kind>.+?) (?P<quote>['\"])(?P<name>.*)(?P=quote) does not exist")


class _Shown(str):
    """The representation of a value, as text that error messages must not quote again."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def error_of(status: int, body: bytes, what: str) -> VectorCacheError:
    """Return the error that a response describes.

    Args:
        status: HTTP status of the response, not a success.
        body: a problem document; for any other body (such as a proxy's error page) only the status is used.
        what: method and URL of the request, for the message.
    """
    problem = _decode(body)
    slug = problem.type.removeprefix(TYPE_PREFIX)
    text = f"{what}: {problem.detail or problem.title or f'HTTP status {status}'}"
    if slug == "invalid-input":
        return InvalidInput(
            problem.field or "request",
            _Shown(problem.value or "the value"),
            problem.allowed or problem.detail or problem.title,
        )
    if slug == "not-found":
        return _not_found(problem, what)
    if known := _PLAIN.get(slug) or _BY_STATUS.get(status):
        return known(text)
    return VectorCacheError(f"{text} (request {problem.request_id})" if problem.request_id else text)


def _decode(body: bytes) -> Problem:
    try:
        return msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        return Problem()


def _not_found(problem: Problem, what: str) -> NotFound:
    found = _MISSING.fullmatch(problem.detail or "")
    return NotFound(found["kind"], found["name"]) if found else NotFound("path", what)
