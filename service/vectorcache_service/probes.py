"""Endpoints for Kubernetes and Prometheus: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

HEALTH, READY, METRICS = PATHS = ("/healthz", "/readyz", "/metrics")

ReadinessCheck = Callable[[], Awaitable[list[str]]]
"""Returns the reasons why the server is not ready. An empty list means that it is ready."""


WarningsCheck = Callable[[], list[str]]
"""Returns problems of the server that do not make it unready."""


async def always_ready() -> list[str]:
    """Return no reasons: the readiness check of a server that is ready as soon as it listens."""
    return []


class ReadinessReport(msgspec.Struct, frozen=True):
    """The response of /readyz: the reasons if the server is not ready, and warnings in either case."""

    ready: bool
    reasons: list[str]
    warnings: list[str]


class Readiness:
    """The readiness of a server: it is ready if its check finds no reason against it and it is not shutting down."""

    def __init__(self, check: ReadinessCheck) -> None:
        self._check = check
        self._warnings: WarningsCheck = list
        self._draining = False
        self._was_ready = False

    def warn_of(self, check: WarningsCheck) -> None:
        """Include the warnings of this check in reports."""
        self._warnings = check

    async def may_get_requests(self) -> bool:
        """Return whether clients may be sending requests: the server is ready, or has been ready before."""
        return (await self.report()).ready or self._was_ready

    def drain(self) -> None:
        """Report not ready from now on."""
        self._draining = True

    async def report(self) -> ReadinessReport:
        """Return the response of /readyz."""
        reasons = await self._check()
        if self._draining:
            reasons = ["shutting down", *reasons]
        self._was_ready = self._was_ready or not reasons
        return ReadinessReport(ready=not reasons, reasons=reasons, warnings=self._warnings())


READINESS = web.AppKey("readiness", Readiness)
REGISTRY = web.AppKey("registry", CollectorRegistry)


def add_probes(app: web.Application, readiness: Readiness, registry: CollectorRegistry) -> None:
    """Add the three routes, which use ``app[READINESS]`` and ``app[REGISTRY]``."""
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
