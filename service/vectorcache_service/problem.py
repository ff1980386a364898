"""Errors as RFC 9457 problem documents: one table maps error types to the documents that callers get."""

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

    For an invalid value, ``field`` is its path in the request (``queries[0].k``), ``value`` a short form of it, and
    ``allowed`` describes the valid values.
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
    """The problem that a type of error maps to. ``detailed``: the error's text is shown to callers."""

    status: int
    slug: str
    title: str
    detailed: bool = False


_INTERNAL = _Kind(500, "internal", "Internal server error")
_KINDS: dict[type[BaseException], _Kind] = {
    UnsupportedMediaType: _Kind(
        415, "unsupported-media-type", "The media type of the body is not supported", detailed=True
    ),
    InvalidInput: _Kind(400, "invalid-input", "A value is not allowed", detailed=True),
    msgspec.ValidationError: _Kind(400, "invalid-input", "A value is not allowed", detailed=True),
    msgspec.DecodeError: _Kind(400, "malformed-body", "The request body cannot be decoded", detailed=True),
    web.RequestPayloadError: _Kind(400, "malformed-body", "The request body cannot be decoded"),
    NotFound: _Kind(404, "not-found", "The requested resource does not exist", detailed=True),
    Conflict: _Kind(409, "conflict", "The request conflicts with the current state", detailed=True),
    CorruptData: _Kind(500, "corrupt-data", "Stored data is corrupt"),
    Overloaded: _Kind(503, "overloaded", "Too many concurrent requests", detailed=True),
    Unavailable: _Kind(503, "unavailable", "A dependency is unavailable"),
    DeadlineExceeded: _Kind(504, "deadline-exceeded", "The deadline was exceeded"),
    TimeoutError: _Kind(504, "deadline-exceeded", "The deadline was exceeded"),
    Exception: _INTERNAL,
}
_HTTP_KINDS = {
    kind.status: kind
    for kind in (
        _Kind(404, "not-found", "No route matches this path"),
        _Kind(405, "method-not-allowed", "The method is not allowed for this path"),
        _Kind(408, "request-timeout", "The request body did not arrive in time"),
        _Kind(413, "body-too-large", "The request body is larger than allowed"),
    )
}


def problem_of(error: Exception, request_id: str | None = None) -> Problem:
    """Return the problem document of an error. Details of server-side errors are left out."""
    kind = _kind_of(type(error))
    detail = str(error) if kind.detailed else None
    field = value = allowed = None
    match error:
        case InvalidInput():
            field, value, allowed = error.field, reprlib.repr(error.value), error.allowed
        case msgspec.ValidationError():
            field = _field_of(str(error))
            value, allowed = _expectation_of(str(error))
    return Problem(_urn(kind), kind.title, kind.status, detail, field, value, allowed, request_id)


def http_problem_of(error: web.HTTPException, request_id: str | None = None) -> Problem:
    """Return the problem document of an error raised by aiohttp, such as 404 and 405."""
    kind = _HTTP_KINDS.get(error.status)
    if kind is None:
        kind = _Kind(error.status, f"http-{error.status}", HTTPStatus(error.status).phrase)
    return Problem(_urn(kind), kind.title, kind.status, request_id=request_id)


def respond(problem: Problem) -> web.Response:
    """Return the response that carries a problem, with a ``Retry-After`` header if its status is 503."""
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
    """Return the field that msgspec's message is about: the path to the object, and the name inside it."""
    found = (_PATH.search(message), _NAME.search(message))
    return ".".join(match[1] for match in found if match and match[1]) or None


def _expectation_of(message: str) -> tuple[str | None, str | None]:
    """Return the value found (its type, if the type is wrong) and the expected value, from msgspec's message."""
    found = _EXPECTED.match(message)
    return (found[2], found[1]) if found else (None, None)
