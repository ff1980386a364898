"""``python -m vectorcache_node``: run a cache node until SIGTERM."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext

from aiohttp import web
from prometheus_client import CollectorRegistry

import vectorcache
from vectorcache_node.api import NodeApi
from vectorcache_node.metrics import NodeMetrics, WarmUpMetrics
from vectorcache_node.node import CacheNode, open_node
from vectorcache_node.settings import NodeSettings
from vectorcache_node.warmup import WarmUp, warming
from vectorcache_service import Limits, make_app, run
from vectorcache_service.main import run_server
from vectorcache_service.probes import always_ready


def node_app(node: CacheNode, settings: NodeSettings, warm_up: WarmUp | None = None) -> web.Application:
    """Return the HTTP application of a node. It is ready once the warm-up has ended."""
    registry = CollectorRegistry()
    registry.register(NodeMetrics(node))
    if warm_up is not None:
        registry.register(WarmUpMetrics(warm_up))
    limits = Limits(body_bytes=settings.max_body, in_flight=settings.max_in_flight)
    routes = NodeApi(node, settings.max_queries).routes()
    return make_app(
        "VectorCache node",
        vectorcache.__version__,
        routes,
        readiness=always_ready if warm_up is None else warm_up.unready,
        limits=limits,
        registry=registry,
        streaming=True,
    )


async def serve_node(settings: NodeSettings, environment: Mapping[str, str]) -> None:
    """Open the node, serve it until SIGTERM or SIGINT, and close it."""
    async with open_node(settings, environment) as node:
        warm_up = WarmUp.of(node, settings) if settings.ring_file else None
        async with nullcontext() if warm_up is None else warming(warm_up):
            await run(
                node_app(node, settings, warm_up),
                settings.listen.host,
                settings.listen.port,
                drain_delay=settings.drain_delay,
                shutdown_timeout=settings.shutdown_timeout,
            )


if __name__ == "__main__":
    sys.exit(run_server(NodeSettings, serve_node))
