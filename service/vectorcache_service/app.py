"""The application of an HTTP server: its routes, middlewares, probes and OpenAPI document."""

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
    """Limits of one server.

    Attributes:
        body_bytes: maximum size of a request body.
        body_seconds: maximum time to wait for a request body.
        in_flight: maximum number of concurrent requests, probes not included.
    """

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
    """Return an application with the given routes, probes, /openapi.json and, if ``streaming``, /v1/stream.

    A server opens and closes its resources in ``app.cleanup_ctx`` and registers its metrics in ``registry``.
    """
    registry = registry or CollectorRegistry()
    observer = Observer(RequestMetrics(registry))
    app = web.Application(
        middlewares=[observing(observer, (*probes.PATHS, OPENAPI), (STREAM_PATH,)), problems],
        client_max_size=limits.body_bytes,
        # Compressed bodies are refused, so aiohttp must not decompress them.
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
