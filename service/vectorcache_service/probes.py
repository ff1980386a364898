"""What Kubernetes and Prometheus ask: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

HEALTH, READY, METRICS = PATHS = ("/healthz", "/readyz", "/metrics")

ReadinessCheck = Callable[[], Awaitable[list[str]]]
"""Asks a server why it should get no requests now; nothing means that it should."""


WarningsCheck = Callable[[], list[str]]
"""Asks a server what is wrong with it although it should get requests."""


async def always_ready() -> list[str]:
    """The check of a server that is ready as soon as it answers."""
    return []


class ReadinessReport(msgspec.Struct, frozen=True):
    """The answer of /readyz: why not, if not; and what is wrong, ready or not."""

    ready: bool
    reasons: list[str]
    warnings: list[str]


class Readiness:
    """Whether requests should come here: the server's own check, and not while it shuts down."""

    def __init__(self, check: ReadinessCheck) -> None:
        self._check = check
        self._warnings: WarningsCheck = list
        self._draining = False
        self._was_ready = False

    def warn_of(self, check: WarningsCheck) -> None:
        """Tell what this check finds as well."""
        self._warnings = check

    async def sought(self) -> bool:
        """Whether others may be sending requests here: because it is ready, or because it was."""
        return (await self.report()).ready or self._was_ready

    def drain(self) -> None:
        """Be not ready from now on."""
        self._draining = True

    async def report(self) -> ReadinessReport:
        """What /readyz answers."""
        reasons = await self._check()
        if self._draining:
            reasons = ["shutting down", *reasons]
        self._was_ready = self._was_ready or not reasons
        return ReadinessReport(ready=not reasons, reasons=reasons, warnings=self._warnings())


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
