"""The operator's liveness, readiness and metrics: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.queue import WorkQueue
from vectorcache_operator.resync import Resync
from vectorcache_service.probes import HEALTH, METRICS, READINESS, READY, Readiness

STUCK_SECONDS = 300.0
"""Maximum duration of a reconcile; each of its requests has a deadline."""
MISSED_ROUNDS = 3.0
"""Number of resync rounds that may be missed."""


class Health:
    """Reasons to restart the process, and reasons why it is not ready."""

    def __init__(self, queue: WorkQueue[Any], resync: Resync, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._resync = resync
        self._clock = clock

    def liveness_failures(self) -> list[str]:
        """Return the problems that only a restart can fix. An unreachable API server is not one of them."""
        found = []
        quiet = self._clock() - self._resync.last_round
        if quiet > MISSED_ROUNDS * self._resync.interval + STUCK_SECONDS:
            found.append(f"the last resync ended {quiet:.0f} s ago")
        if self._queue.longest_running() > STUCK_SECONDS:
            found.append(f"a reconcile has been running for {self._queue.longest_running():.0f} s")
        if self._resync.behind:
            found.append(f"the watches missed changes of {self._resync.behind}")
        return found

    async def unready(self) -> list[str]:
        """Return the reasons why the operator is not working yet."""
        return [] if self._resync.filled.is_set() else ["the watch cache is not complete yet"]


def health_app(health: Health, queue: WorkQueue[Any], metrics: OperatorMetrics) -> web.Application:
    """Return the operator's HTTP application."""

    async def healthz(_request: web.Request) -> web.Response:
        liveness_failures = health.liveness_failures()
        return web.Response(
            text="\n".join(liveness_failures) or "ok", status=503 if liveness_failures else 200
        )

    async def readyz(request: web.Request) -> web.Response:
        report = await request.app[READINESS].report()
        text = "\n".join(report.reasons) or "ok"
        return web.Response(text=text, status=200 if report.ready else 503)

    async def show_metrics(_request: web.Request) -> web.Response:
        metrics.queue_depth.set(len(queue))
        return _text_of(metrics.registry)

    app = web.Application()
    app[READINESS] = Readiness(health.unready)
    app.router.add_get(HEALTH, healthz, allow_head=False)
    app.router.add_get(READY, readyz, allow_head=False)
    app.router.add_get(METRICS, show_metrics, allow_head=False)
    return app


def _text_of(registry: CollectorRegistry) -> web.Response:
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
