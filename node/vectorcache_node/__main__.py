"""``python -m vectorcache_node``: run a cache node until SIGTERM."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry

import vectorcache
from vectorcache_node.api import NodeApi
from vectorcache_node.metrics import NodeMetrics
from vectorcache_node.node import CacheNode, open_node
from vectorcache_node.settings import NodeSettings
from vectorcache_service import Limits, make_app, run
from vectorcache_service.main import run_server


def node_app(node: CacheNode, settings: NodeSettings) -> web.Application:
    """The node's HTTP application."""
    registry = CollectorRegistry()
    registry.register(NodeMetrics(node))
    limits = Limits(body_bytes=settings.max_body, in_flight=settings.max_in_flight)
    routes = NodeApi(node, settings.max_queries).routes()
    return make_app("VectorCache node", vectorcache.__version__, routes, limits=limits, registry=registry)


async def serve_node(settings: NodeSettings, environment: Mapping[str, str]) -> None:
    """Open the node, serve it until the process is told to end, and close it."""
    async with open_node(settings, environment) as node:
        await run(
            node_app(node, settings),
            settings.listen.host,
            settings.listen.port,
            drain_delay=settings.drain_delay,
            shutdown_timeout=settings.shutdown_timeout,
        )


if __name__ == "__main__":
    sys.exit(run_server(NodeSettings, serve_node))
