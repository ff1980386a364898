"""What Kubernetes and Prometheus ask: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

HEALTH, READY, METRICS = PATHS = ("/healthz", "/readyz", "/metrics")

ReadinessCheck = Callable[[], Awaitable[list[str]]]
"""Asks a server why it should get no requests now; nothing means that it should."""


async def always_ready() -> list[str]:
    """The check of a server that is ready as soon as it answers."""
    return []


class ReadinessReport(msgspec.Struct, frozen=True):
    """The answer of /readyz."""

    ready: bool
    reasons: list[str]


class Readiness:
    """Whether requests should come here: the server's own check, and not while it shuts down."""

    def __init__(self, check: ReadinessCheck) -> None:
        self._check = check
        self._draining = False

    def drain(self) -> None:
        """Be not ready from now on."""
        self._draining = True

    async def report(self) -> ReadinessReport:
        """What /readyz answers."""
        reasons = await self._check()
        if self._draining:
            reasons = ["shutting down", *reasons]
        return ReadinessReport(ready=not reasons, reasons=reasons)


READINESS = web.AppKey("readiness", Readiness)
REGISTRY = web.AppKey("registry", CollectorRegistry)


def add_probes(app: web.Application, readiness: Readiness, registry: CollectorRegistry) -> None:
    """Add the three routes; ``app[READINESS]`` and ``app[REGISTRY]`` are what they answer from."""
    app[READINESS], app[REGISTRY] = readiness, registry
    app.router.add_get(HEALTH, _healthz, allow_head=False)
    app.router.add_get(READY, _readyz, allow_head=False)
    app.router.add_get(METRICS, _metrics, allow_head=False)


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _readyz(request: web.Request) -> web.Response:
    report = await request.app[READINESS].report()
    body = msgspec.json.encode(report)
    return web.Response(body=body, status=200 if report.ready else 503, content_type="application/json")


async def _metrics(request: web.Request) -> web.Response:
    body = generate_latest(request.app[REGISTRY])
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
