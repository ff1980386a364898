"""The HTTP API of a router: conversion between wire messages and domain types."""

from __future__ import annotations

import asyncio
from typing import Any

from vectorcache.concurrency import all_of
from vectorcache.errors import InvalidInput
from vectorcache.index.manifest import NAME_PATTERN, Manifest
from vectorcache.index.options import SearchLimits, resolve
from vectorcache.index.query import Answer, StoredVector
from vectorcache.wire import public, types
from vectorcache_router.cluster import Cluster
from vectorcache_router.settings import RouterSettings
from vectorcache_service import Route

NAME = {"name": NAME_PATTERN}
FETCHES = 16
"""Maximum number of chunks that one request for vectors reads concurrently."""


class RouterApi:
    """Handlers of the routes."""

    def __init__(self, cluster: Cluster, settings: RouterSettings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._limits = SearchLimits(
            k=settings.k,
            nprobe=settings.nprobe or None,
            timeout=settings.timeout,
            max_k=settings.max_k,
            max_nprobe=settings.max_nprobe,
            max_probes=settings.max_probes,
        )

    def routes(self) -> list[Route]:
        """Return the routes of the router, without the probes."""
        return [
            Route(
                method="POST",
                path="/v1/collections/{name}/search",
                handler=self.search,
                summary="Find the nearest neighbours of one or more vectors",
                request=public.SearchRequest,
                response=public.SearchResponse,
                patterns=NAME,
            ),
            Route(
                method="POST",
                path="/v1/collections/{name}/vectors",
                handler=self.vectors,
                summary="Return vectors and payloads by id",
                request=public.VectorsRequest,
                response=public.VectorsResponse,
                patterns=NAME,
            ),
            Route(
                method="GET",
                path="/v1/collections",
                handler=self.collections,
                summary="List all collections",
                response=public.CollectionList,
            ),
            Route(
                method="GET",
                path="/v1/collections/{name}",
                handler=self.collection,
                summary="Describe a collection",
                response=public.CollectionInfo,
                patterns=NAME,
            ),
            Route(
                method="GET",
                path="/v1/ring",
                handler=self.ring,
                summary="Describe the ring: its nodes and the number of slots of each",
                response=public.RingInfo,
            ),
            Route(
                method="GET",
                path="/v1/nodes/count",
                handler=self.node_count,
                summary="Return the desired and the actual number of nodes",
                response=public.NodeCount,
            ),
            Route(
                method="POST",
                path="/v1/nodes/count",
                handler=self.set_node_count,
                summary="Set the desired number of nodes",
                request=public.NodeCountRequest,
                response=public.NodeCount,
                errors=(409,),
                status=202,
            ),
        ]

    async def search(self, request: public.SearchRequest, name: str) -> public.SearchResponse:
        """POST /v1/collections/{name}/search."""
        coarse = await self._cluster.collections.open(name, request.version)
        manifest = coarse.manifest
        vectors = types.vectors_of(request.vectors, manifest.dimension, most=self._settings.max_queries)
        options = resolve(request, vectors, manifest, self._limits)
        answers = await self._cluster.search(coarse, vectors, options)
        searched = min(answer.searched for answer in answers)
        return public.SearchResponse(
            collection=name,
            version=manifest.version,
            partial=searched < 1.0,
            searched=searched,
            results=[_result(answer) for answer in answers],
        )

    async def vectors(self, request: public.VectorsRequest, name: str) -> public.VectorsResponse:
        """POST /v1/collections/{name}/vectors."""
        manifest = (await self._cluster.collections.open(name, request.version)).manifest
        _check_ids(request.ids, manifest)
        async with asyncio.timeout(self._settings.timeout):
            found = await self._find(manifest, request.ids)
        return public.VectorsResponse(
            collection=name,
            version=manifest.version,
            vectors=[found[one] for one in request.ids if one in found],
            missing=[one for one in request.ids if one not in found],
        )

    async def collections(self) -> public.CollectionList:
        """GET /v1/collections."""
        served = await self._cluster.collections.served()
        return public.CollectionList(
            collections=[_info(manifest) for manifest in served.manifests],
            unreadable=[
                public.UnreadableCollection(name=name, problem=str(error))
                for name, error in served.unreadable.items()
            ],
        )

    async def collection(self, name: str) -> public.CollectionInfo:
        """GET /v1/collections/{name}."""
        return _info((await self._cluster.collections.open(name)).manifest)

    async def ring(self) -> public.RingInfo:
        """GET /v1/ring."""
        ring = self._cluster.ring
        slots, suspects = ring.slot_counts(), self._cluster.health.suspects()
        return public.RingInfo(
            version=ring.version,
            virtual_nodes=ring.virtual_nodes,
            replication=ring.replication,
            shard_bytes=self._settings.shard_bytes,
            nodes=[
                public.NodeInfo(
                    name=name,
                    address=self._cluster.nodes[name].url,
                    slots=slots[name],
                    suspect=name in suspects,
                )
                for name in ring.nodes
            ],
        )

    async def node_count(self) -> public.NodeCount:
        """GET /v1/nodes/count."""
        ready = len(self._cluster.nodes)
        desired = await self._cluster.membership.desired()
        return public.NodeCount(desired=ready if desired is None else desired, ready=ready)

    async def set_node_count(self, request: public.NodeCountRequest) -> public.NodeCount:
        """POST /v1/nodes/count."""
        await self._cluster.membership.resize(request.count)
        return public.NodeCount(desired=request.count, ready=len(self._cluster.nodes))

    async def _find(self, manifest: Manifest, ids: list[int | str]) -> dict[int | str, types.VectorItem]:
        """Return the vectors of the ids that exist, by id."""
        positions: dict[int, list[int]] = {}
        for place in (await self._cluster.collections.places(manifest, ids)).values():
            positions.setdefault(place.chunk, []).append(place.position)
        gate = asyncio.Semaphore(FETCHES)

        async def fetch(chunk: int) -> list[StoredVector]:
            async with gate:
                return await self._cluster.fetch(manifest, chunk, positions[chunk])

        found = await all_of(fetch(chunk) for chunk in positions)
        return {stored.id: types.vector_item(stored) for some in found for stored in some}


def _result(answer: Answer) -> public.QueryResult:
    payloads: list[dict[str, Any] | None] = [*answer.payload] if answer.payload is not None else []
    hits = [
        public.Hit(id=one, distance=distance, payload=payload)
        for one, distance, payload in zip(
            answer.ids, answer.distances, payloads or [None] * len(answer.ids), strict=True
        )
    ]
    return public.QueryResult(hits=hits, searched=answer.searched)


def _check_ids(ids: list[int | str], manifest: Manifest) -> None:
    kind = int if manifest.id_type == "int64" else str
    for place, one in enumerate(ids):
        if not isinstance(one, kind):
            raise InvalidInput(f"ids[{place}]", one, f"an id of type {manifest.id_type}")


def _info(manifest: Manifest) -> public.CollectionInfo:
    measured = {point.nprobe: point.recall for point in manifest.search.curve}
    return public.CollectionInfo(
        name=manifest.collection,
        version=manifest.version,
        vectors=manifest.vectors,
        dimension=manifest.dimension,
        metric=manifest.metric,
        cells=manifest.cells,
        chunks=len(manifest.chunks),
        bytes=sum(chunk.bytes for chunk in manifest.chunks),
        nprobe=manifest.search.nprobe,
        recall=measured[manifest.search.nprobe],
        built_at=manifest.built_at,
    )
