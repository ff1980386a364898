"""``python -m vectorcache_router``: run a router until SIGTERM."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry

import vectorcache
from vectorcache_router.api import RouterApi
from vectorcache_router.cluster import Cluster, open_cluster
from vectorcache_router.metrics import RouterMetrics
from vectorcache_router.settings import RouterSettings
from vectorcache_service import READINESS, Limits, make_app, run
from vectorcache_service.main import run_server


def router_app(cluster: Cluster, settings: RouterSettings) -> web.Application:
    """Return the HTTP application of a router."""

    async def unready() -> list[str]:
        reasons = [] if cluster.nodes else ["no cache node is known yet"]
        # One response of the blob store or one collection opened from a node's copies is enough: in an outage, cached
        # data can still be searched.
        if not (cluster.storage.reached or cluster.collections.opened):
            reasons.append("the blob store has not responded yet")
        if not cluster.collections.warmed:
            reasons.append("collections are still being opened")
        return reasons

    def warnings() -> list[str]:
        return [*cluster.membership.warnings(), *cluster.storage.warnings()]

    registry = CollectorRegistry()
    registry.register(RouterMetrics(cluster))
    app = make_app(
        "VectorCache",
        vectorcache.__version__,
        RouterApi(cluster, settings).routes(),
        readiness=unready,
        limits=Limits(body_bytes=settings.max_body, in_flight=settings.max_in_flight),
        registry=registry,
    )
    app[READINESS].warn_of(warnings)
    return app


async def serve_router(settings: RouterSettings, environment: Mapping[str, str]) -> None:
    """Open the cluster, serve it until SIGTERM or SIGINT, and close it."""
    async with open_cluster(settings, environment) as cluster:
        await run(
            router_app(cluster, settings),
            settings.listen.host,
            settings.listen.port,
            drain_delay=settings.drain_delay,
            shutdown_timeout=settings.shutdown_timeout,
        )


if __name__ == "__main__":
    sys.exit(run_server(RouterSettings, serve_router))
