"""JSON and msgpack bodies: requests are decoded by their Content-Type, responses are encoded by Accept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs, web

from vectorcache.errors import InvalidInput

T = TypeVar("T")

JSON = "application/json"
MSGPACK = "application/msgpack"
MEDIA_TYPES = (JSON, MSGPACK)

_ENCODE: dict[str, Callable[[Any], bytes]] = {
    JSON: msgspec.json.Encoder().encode,
    MSGPACK: msgspec.msgpack.Encoder().encode,
}


class UnsupportedMediaType(InvalidInput):
    """The media type or content coding of a body is not supported."""


async def read_body(request: web.Request, model: type[T], timeout: float) -> T:
    """Read and decode the body of a request, as JSON if it has no Content-Type.

    The application's ``client_max_size`` limits its size in bytes, and ``timeout`` the wait in seconds.

    Raises:
        UnsupportedMediaType: the body is neither JSON nor msgpack, or it is compressed.
        web.HTTPRequestEntityTooLarge: the body or its Content-Length exceeds the limit.
        web.HTTPRequestTimeout: the body did not arrive in time.
        msgspec.DecodeError: the body is malformed, or (``ValidationError``) does not match the type.
    """
    decode: Callable[[Any], T] = _decoder(_media_type(request), model)  # type: ignore[arg-type] # types do hash
    limit, announced = request.client_max_size, request.content_length or 0
    if limit < announced:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=announced)
    return decoded(decode, await _read(request, timeout))


def decoded(decode: Callable[[Any], T], body: bytes | msgspec.Raw) -> T:
    """Return the decoded body. Every failure is raised as ``msgspec.DecodeError``."""
    try:
        return decode(body)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError("not valid UTF-8, or nested too deeply") from error


def write_body(request: web.Request, value: object, status: int = 200) -> web.Response:
    """Encode a response in the format that the request's Accept header prefers: JSON unless it asks for msgpack."""
    media_type = preferred(request.headers.get(hdrs.ACCEPT, JSON))
    return web.Response(
        body=_ENCODE[media_type](value), status=status, headers={hdrs.CONTENT_TYPE: media_type}
    )


@lru_cache(maxsize=256)
def preferred(accept: str) -> str:
    """Return the supported media type that an Accept header (RFC 9110, 12.5.1) ranks first.

    JSON if the header ranks both the same or accepts neither: the caller gets a response instead of a 406.
    """
    ranges = dict(_media_range(part) for part in accept.split(","))

    def quality(media_type: str) -> float:
        return ranges.get(media_type, ranges.get("application/*", ranges.get("*/*", 0.0)))

    return max(MEDIA_TYPES, key=quality)


def _media_range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 0.0


def _media_type(request: web.Request) -> str:
    media_type = request.content_type if hdrs.CONTENT_TYPE in request.headers else JSON
    if media_type not in MEDIA_TYPES:
        raise UnsupportedMediaType("Content-Type", media_type, " or ".join(MEDIA_TYPES))
    coding = request.headers.get(hdrs.CONTENT_ENCODING)
    if coding is not None:
        raise UnsupportedMediaType("Content-Encoding", coding, "uncompressed bodies only")
    return media_type


async def _read(request: web.Request, timeout: float) -> bytes:
    if request.content.is_eof():
        return await request.read()  # the body has arrived: a timer would cost more than reading it
    try:
        async with asyncio.timeout(timeout):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error


@lru_cache(maxsize=256)
def _decoder(media_type: str, model: Any) -> Callable[[bytes], Any]:
    if media_type == JSON:
        return msgspec.json.Decoder(model).decode
    return msgspec.msgpack.Decoder(model).decode
