"""A small API on the service package: what tests of servers talk to."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient

from vectorcache.errors import Conflict, CorruptData, DeadlineExceeded, InvalidInput, NotFound, Unavailable
from vectorcache_service import Limits, Route, make_app, request_id
from vectorcache_service.probes import ReadinessCheck, always_ready

Client = TestClient[web.Request, web.Application]
LIMITS = Limits(body_bytes=10_000)
NAME = "[a-z][a-z0-9-]{0,31}"


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request with one field of each kind that matters."""

    vector: Annotated[
        list[Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]], msgspec.Meta(min_length=1, max_length=16)
    ]
    k: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    raw: bytes = b""


class Found(msgspec.Struct, frozen=True):
    collection: str
    total: float
    k: int
    raw: bytes
    request_id: str | None


class Empty(msgspec.Struct, frozen=True):
    pass


ERRORS: dict[str, Exception] = {
    "invalid": InvalidInput("k", 0, "1 to 100"),
    "missing": NotFound("collection", "glove"),
    "conflict": Conflict("version 7 is there already"),
    "corrupt": CorruptData("secret path"),
    "unavailable": Unavailable("secret host"),
    "late": DeadlineExceeded("secret host"),
    "timeout": TimeoutError("secret host"),
    "bug": RuntimeError("secret cause"),
    "gone": web.HTTPGone(text="secret"),
}


class Api:
    """Handlers. ``block`` waits for ``release``, and sets ``entered`` when it has begun."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

    async def search(self, body: Search, collection: str) -> Found:
        return Found(collection, sum(body.vector), body.k, body.raw, request_id.current())

    async def block(self) -> Empty:
        self.entered.set()
        await self.release.wait()
        return Empty()

    async def fail(self, error: str) -> Empty:
        raise ERRORS[error]

    def routes(self) -> list[Route]:
        return [
            Route(
                method="POST",
                path="/v1/collections/{collection}/search",
                handler=self.search,
                summary="Search",
                request=Search,
                response=Found,
                patterns={"collection": NAME},
            ),
            Route(method="GET", path="/v1/block", handler=self.block, summary="Wait", response=Empty),
            Route(
                method="POST",
                path="/v1/fail/{error}",
                handler=self.fail,
                summary="Fail",
                response=Empty,
                patterns={"error": "[a-z]+"},
                errors=(409,),
            ),
        ]

    def app(self, limits: Limits = LIMITS, readiness: ReadinessCheck = always_ready) -> web.Application:
        return make_app("test", "1.2.3", self.routes(), limits=limits, readiness=readiness)
