"""The HTTP API of a node: conversion between wire messages and domain types."""

from __future__ import annotations

from vectorcache.errors import NotFound
from vectorcache.index.query import CellAnswer
from vectorcache.layers.base import LayerStats
from vectorcache.wire import internal, types
from vectorcache_node.node import CacheNode
from vectorcache_service import Route

MAX_KEPT = 64 << 20
"""Maximum size in bytes of a copy that is sent, because it shares its connection with searches."""


class NodeApi:
    """Handlers of the routes."""

    def __init__(self, node: CacheNode, max_queries: int) -> None:
        self._node = node
        self._max_queries = max_queries

    def routes(self) -> list[Route]:
        """Return the routes of the node, without the probes."""
        return [
            Route(
                method="POST",
                path="/v1/search",
                handler=self.search,
                summary="Search the given cells",
                request=internal.NodeSearchRequest,
                response=CellAnswer,
                errors=(404,),
            ),
            Route(
                method="POST",
                path="/v1/prefetch",
                handler=self.prefetch,
                summary="Load chunks into the cache",
                request=internal.PrefetchRequest,
                response=internal.PrefetchResponse,
                errors=(404,),
            ),
            Route(
                method="POST",
                path="/v1/vectors",
                handler=self.vectors,
                summary="Return vectors by chunk and position",
                request=internal.FetchRequest,
                response=internal.FetchResponse,
                errors=(404,),
            ),
            Route(
                method="POST",
                path="/v1/kept",
                handler=self.kept,
                summary="Return the copy of a metadata blob, for routers that cannot reach the blob store",
                request=internal.KeptRequest,
                response=internal.KeptResponse,
                errors=(404,),
            ),
            Route(
                method="GET",
                path="/v1/stats",
                handler=self.stats,
                summary="Return counters of the node and of its cache layers",
                response=internal.NodeStats,
            ),
        ]

    async def search(self, request: internal.NodeSearchRequest) -> CellAnswer:
        """POST /v1/search."""
        return await self._node.search(internal.cell_query(request, most=self._max_queries))

    async def prefetch(self, request: internal.PrefetchRequest) -> internal.PrefetchResponse:
        """POST /v1/prefetch."""
        loaded = await self._node.prefetch(
            request.collection, request.version, request.chunks, request.timeout
        )
        return internal.PrefetchResponse(loaded=loaded)

    async def vectors(self, request: internal.FetchRequest) -> internal.FetchResponse:
        """POST /v1/vectors."""
        found = await self._node.fetch(request.collection, request.version, request.chunk, request.positions)
        return internal.FetchResponse(vectors=[types.vector_item(stored) for stored in found])

    async def kept(self, request: internal.KeptRequest) -> internal.KeptResponse:
        """POST /v1/kept."""
        data = await self._node.blobs.recall(request.key)
        if data is None or len(data) > MAX_KEPT:
            raise NotFound("blob", request.key)
        return internal.KeptResponse(data=data)

    async def stats(self) -> internal.NodeStats:
        """GET /v1/stats."""
        node = self._node
        return internal.NodeStats(
            name=node.name,
            uptime_seconds=round(node.uptime_seconds, 3),
            searches=node.searches,
            queries=node.queries,
            scanned=node.scanned,
            layers=[_layer_info(layer) for layer in node.layers()],
        )


def _layer_info(layer: LayerStats) -> internal.LayerInfo:
    return internal.LayerInfo(
        name=layer.name,
        hits=layer.hits,
        misses=layer.misses,
        evictions=layer.evictions,
        errors=layer.errors,
        corrupt=layer.corrupt,
        loads=layer.load_times.count,
        load_seconds=round(layer.load_times.total_seconds, 6),
        items=layer.items,
        bytes=layer.bytes,
        capacity_bytes=layer.capacity_bytes,
    )
