"""An HTTP server's application: its routes, with all that surrounds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from vectorcache_service import probes
from vectorcache_service.metrics import RequestMetrics
from vectorcache_service.middleware import InFlightLimit, Observer, observing, problems
from vectorcache_service.openapi import openapi
from vectorcache_service.probes import Readiness, ReadinessCheck, add_probes, always_ready
from vectorcache_service.routes import Route
from vectorcache_service.stream import STREAM, Stream

OPENAPI = "/openapi.json"
STREAM_PATH = "/v1/stream"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes: bytes of a body, seconds to wait for it, requests at once (probes aside)."""

    body_bytes: int = 8 * 2**20
    body_seconds: float = 30.0
    in_flight: int = 1024


def make_app(
    title: str,
    version: str,
    routes: Sequence[Route],
    *,
    readiness: ReadinessCheck = always_ready,
    limits: Limits = Limits(),
    registry: CollectorRegistry | None = None,
    streaming: bool = False,
) -> web.Application:
    """An application with the given routes, probes and /openapi.json; ``streaming``: with /v1/stream too.

    What the server opens and closes belongs into ``app.cleanup_ctx``, its own metrics into ``registry``.
    """
    registry = registry or CollectorRegistry()
    observer = Observer(RequestMetrics(registry))
    app = web.Application(
        middlewares=[observing(observer, (*probes.PATHS, OPENAPI), (STREAM_PATH,)), problems],
        client_max_size=limits.body_bytes,
        # A compressed body is refused, so it must not be unpacked behind our back.
        handler_args={"auto_decompress": False},
    )
    limit = InFlightLimit(limits.in_flight)
    for route in routes:
        route.add_to(app, limit, limits.body_seconds)
    if streaming:
        app[STREAM] = Stream(routes, limit, observer, limits.body_bytes)
        app.router.add_get(STREAM_PATH, app[STREAM].connect, allow_head=False)
    add_probes(app, Readiness(readiness), registry)
    _add_openapi(app, msgspec.json.encode(openapi(title, version, routes)))
    return app


def _add_openapi(app: web.Application, document: bytes) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    app.router.add_get(OPENAPI, answer, allow_head=False)
