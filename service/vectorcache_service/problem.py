"""Errors as RFC 9457 problem documents: one table from the type of an error to what a caller is told."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
from aiohttp import web

from vectorcache.errors import (
    Conflict,
    CorruptData,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    Unavailable,
)
from vectorcache_service.codec import UnsupportedMediaType

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document. ``type`` is stable; ``title`` and ``detail`` are for people.

    ``field`` is where in the request the fault lies (``queries[0].k``), ``value`` a short form of what was
    there and ``allowed`` what may be.
    """

    type: str
    title: str
    status: int
    detail: str | None = None
    field: str | None = None
    value: str | None = None
    allowed: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a type of error becomes. ``told``: whether the error's text is fit for callers."""

    status: int
    slug: str
    title: str
    told: bool = False


_INTERNAL = _Kind(500, "internal", "The server failed")
_KINDS: dict[type[BaseException], _Kind] = {
    UnsupportedMediaType: _Kind(415, "unsupported-media-type", "The body's type is not supported", told=True),
    InvalidInput: _Kind(400, "invalid-input", "A value is not allowed", told=True),
    msgspec.ValidationError: _Kind(400, "invalid-input", "A value is not allowed", told=True),
    msgspec.DecodeError: _Kind(400, "malformed-body", "The body cannot be read", told=True),
    web.RequestPayloadError: _Kind(400, "malformed-body", "The body cannot be read"),
    NotFound: _Kind(404, "not-found", "What was named does not exist", told=True),
    Conflict: _Kind(409, "conflict", "Something changed meanwhile", told=True),
    CorruptData: _Kind(500, "corrupt-data", "Stored data is damaged"),
    Overloaded: _Kind(503, "overloaded", "Too many requests at once", told=True),
    Unavailable: _Kind(503, "unavailable", "A dependency did not do its work"),
    DeadlineExceeded: _Kind(504, "deadline-exceeded", "The time given was not enough"),
    TimeoutError: _Kind(504, "deadline-exceeded", "The time given was not enough"),
    Exception: _INTERNAL,
}
_HTTP_KINDS = {
    kind.status: kind
    for kind in (
        _Kind(404, "not-found", "There is nothing at this path"),
        _Kind(405, "method-not-allowed", "The method is not allowed here"),
        _Kind(408, "request-timeout", "The body did not arrive in time"),
        _Kind(413, "body-too-large", "The body is larger than allowed"),
    )
}


def problem_of(error: Exception, request_id: str | None = None) -> Problem:
    """What a caller is told about an error: nothing of the inside, where the error is not the caller's."""
    kind = _kind_of(type(error))
    detail = str(error) if kind.told else None
    field = value = allowed = None
    match error:
        case InvalidInput():
            field, value, allowed = error.field, reprlib.repr(error.value), error.allowed
        case msgspec.ValidationError():
            field = _field_of(str(error))
            value, allowed = _expectation_of(str(error))
    return Problem(_urn(kind), kind.title, kind.status, detail, field, value, allowed, request_id)


def http_problem_of(error: web.HTTPException, request_id: str | None = None) -> Problem:
    """The problem document of one of aiohttp's own errors, such as 404 and 405."""
    kind = _HTTP_KINDS.get(error.status)
    if kind is None:
        kind = _Kind(error.status, f"http-{error.status}", HTTPStatus(error.status).phrase)
    return Problem(_urn(kind), kind.title, kind.status, request_id=request_id)


def respond(problem: Problem) -> web.Response:
    """The response that carries a problem; it asks to come back later where that may help."""
    response = web.Response(
        body=msgspec.json.encode(problem), status=problem.status, content_type=CONTENT_TYPE
    )
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _kind_of(error: type[BaseException]) -> _Kind:
    return next((_KINDS[base] for base in error.__mro__ if base in _KINDS), _INTERNAL)


def _urn(kind: _Kind) -> str:
    return f"urn:vectorcache:problem:{kind.slug}"


_EXPECTED = re.compile(r"Expected (.+?)(?:, got (.+?))?(?: - at `.*`)?$")
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_NAME = re.compile(r"(?:missing required|contains unknown) field `(.*?)`")


def _field_of(message: str) -> str | None:
    """The field that msgspec's message speaks of: the path to the object, and the name inside of it."""
    found = (_PATH.search(message), _NAME.search(message))
    return ".".join(match[1] for match in found if match and match[1]) or None


def _expectation_of(message: str) -> tuple[str | None, str | None]:
    """What msgspec's message says was there (its type, if that was wrong), and what may be."""
    found = _EXPECTED.match(message)
    return (found[2], found[1]) if found else (None, None)
