"""The cluster as one router sees it: nodes by membership, the ring over them, and searches spread over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import structlog

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache.index.coarse import CoarseQuantizer
from vectorcache.index.manifest import Manifest
from vectorcache.index.query import Answer, StoredVector
from vectorcache.metric import Floats
from vectorcache.offload import Offload
from vectorcache.routing.health import NodeHealth
from vectorcache.routing.ring import HashRing
from vectorcache.routing.scatter import MAX_NODES_TRIED, ScatterSearch
from vectorcache.stores.url import open_blob_store
from vectorcache_router.collections import Collections
from vectorcache_router.http_node import HttpNode
from vectorcache_router.membership import FileMembership, Membership, StaticMembership, parse_nodes
from vectorcache_router.settings import RouterSettings

_CONNECTIONS_KEPT = 30.0  # seconds that an idle connection to a node is kept
_FOLLOW_AGAIN = 1.0  # seconds until a membership that failed is followed again


class Cluster:
    """Nodes, ring and collections.

    Attributes:
        collections: which are served.
        membership: which nodes there are.
        health: which of them failed lately.
    """

    def __init__(
        self,
        settings: RouterSettings,
        collections: Collections,
        membership: Membership,
        session: aiohttp.ClientSession,
        offload: Offload,
    ) -> None:
        self.collections = collections
        self.membership = membership
        self.health = NodeHealth()
        self._settings = settings
        self._session = session
        self._offload = offload
        self._nodes: dict[str, HttpNode] = {}
        self._scatter: ScatterSearch | None = None
        self._log = structlog.get_logger()

    @property
    def nodes(self) -> Mapping[str, HttpNode]:
        """The present nodes by name."""
        return self._nodes

    @property
    def ring(self) -> HashRing:
        """The ring over the present nodes; ``Unavailable`` while there are none."""
        return self._ready().ring

    async def search(
        self, coarse: CoarseQuantizer, vectors: Floats, k: int, nprobe: int, payload: bool, timeout: float
    ) -> list[Answer]:
        """Search over the present nodes; see ``ScatterSearch.search``."""
        return await self._ready().search(coarse, vectors, k, nprobe=nprobe, payload=payload, timeout=timeout)

    async def fetch(self, manifest: Manifest, chunk: int, positions: list[int]) -> list[StoredVector]:
        """Vectors by their place, from the chunk's owner or the next node that answers.

        Each node gets half of the time that is left; those that failed lately are asked last.
        """
        nodes, suspects = self._nodes, self.health.suspects()
        names = sorted(self.ring.preference(manifest.chunk_key(chunk)), key=lambda name: name in suspects)
        timeout = self._settings.timeout
        error = Unavailable("no node answered")
        for name in names[:MAX_NODES_TRIED]:
            timeout /= 2
            try:
                return await nodes[name].fetch(
                    manifest.collection, manifest.version, chunk, positions, timeout
                )
            except Unavailable as failure:
                self.health.failed(name)
                error = failure
        raise error

    async def follow(self) -> None:
        """Keep the ring in step with the membership, until cancelled or it has no more to tell."""
        while True:
            try:
                async for nodes in self.membership.changes():
                    await self.adopt(nodes)
            except Exception:  # noqa: BLE001 - a membership that is not followed would go unnoticed for long
                self._log.exception("membership failed; it is followed again", seconds=_FOLLOW_AGAIN)
                await asyncio.sleep(_FOLLOW_AGAIN)
            else:
                return

    async def adopt(self, nodes: Mapping[str, str]) -> None:
        """Make these the present nodes. Nodes that stay keep their connections."""
        before = self._nodes
        self._nodes = {
            name: before[name] if name in before and before[name].url == url else self._connect(name, url)
            for name, url in nodes.items()
        }
        self.health.keep(frozenset(nodes))
        self._scatter = self._scatter_over(self._nodes) if nodes else None
        self._log.info("nodes changed", nodes=sorted(nodes), ring=self.ring.version if nodes else None)
        # Searches that began before may still use the old ones; they fail over when these close.
        for node in before.values():
            if node not in self._nodes.values():
                await node.close()

    def _connect(self, name: str, url: str) -> HttpNode:
        return HttpNode(name, url, self._session, requests=self._settings.node_requests)

    def _scatter_over(self, nodes: Mapping[str, HttpNode]) -> ScatterSearch:
        ring = HashRing(nodes, self._settings.virtual_nodes, self._settings.replication)
        return ScatterSearch(
            ring, nodes, health=self.health, hedge_after=self._settings.hedge_after, offload=self._offload
        )

    def _ready(self) -> ScatterSearch:
        if self._scatter is None:
            raise Unavailable("no cache node is known yet")
        return self._scatter

    async def close(self) -> None:
        """Close the nodes' clients."""
        for node in self._nodes.values():
            await node.close()


@asynccontextmanager
async def open_cluster(settings: RouterSettings, environment: Mapping[str, str]) -> AsyncIterator[Cluster]:
    """Open the blob store, begin to follow the membership, and close all of it in the end.

    Raises:
        InvalidInput: a setting that is missing or not allowed.
        VectorCacheError: the blob store cannot be opened.
    """
    if not settings.blob_url:
        raise InvalidInput("--blob-url", settings.blob_url, "must be given")
    membership = _membership(settings)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_CONNECTIONS_KEPT)
    with ThreadPoolExecutor(1, thread_name_prefix="probe") as executor:
        async with (
            open_blob_store(settings.blob_url, environment) as blobs,
            aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
        ):
            collections = Collections(blobs, refresh=settings.refresh, max_bytes=settings.centroid_memory)
            cluster = Cluster(settings, collections, membership, session, Offload(executor))
            following = asyncio.create_task(cluster.follow())
            try:
                yield cluster
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await cluster.close()
                await collections.close()


def _membership(settings: RouterSettings) -> Membership:
    if bool(settings.nodes) == bool(settings.nodes_file):
        raise InvalidInput("--nodes", settings.nodes, "given, or --nodes-file, and not both")
    if settings.nodes_file:
        return FileMembership(Path(settings.nodes_file))
    return StaticMembership(parse_nodes(settings.nodes))
